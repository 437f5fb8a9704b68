"""Dify's databases: asked, dumped and restored with PostgreSQL's own programs, in the stack's container or another's.

With a PostgreSQL of your own the programs run in a container of the image that the compose file names, which is there;
the password goes by the environment's name and is in no argv.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import IO, Any

from steelyard_host.dify import env_file, job_progress
from steelyard_host.dify.stack import DATABASE, DifyError, Stack, run


def _command(stack: Stack, argv: list[str]) -> tuple[list[str], dict[str, str]]:
    """The argv of a PostgreSQL program, and the environment it needs."""
    server = stack.config.get("postgres")
    if server is None:
        user = _user(stack)
        return [
            "docker",
            "compose",
            "--project-name",
            stack.project,
            "exec",
            "-T",
            DATABASE,
            argv[0],
            "-U",
            user,
            *argv[1:],
        ], {}
    image = stack.compose("--profile", "postgresql", "config", "--images", DATABASE).stdout.split()[-1]
    to = ["-h", server["host"], "-p", str(server["port"]), "-U", server["user"]]
    password = env_file.live_texts(stack.folder).get("DB_PASSWORD", "")
    command = ["docker", "run", "--rm", "-i", "--network", "host", "-e", "PGPASSWORD", "--entrypoint", argv[0], image]
    return [*command, *to, *argv[1:]], {"PGPASSWORD": password}


def _user(stack: Stack) -> str:
    return env_file.live_texts(stack.folder).get("DB_USERNAME") or "postgres"


def query(stack: Stack, database: str, text: str) -> list[str]:
    """Lines of one column that a query gives. Raises DifyError."""
    command, environment = _command(stack, ["psql", "-d", database, "-At", "-v", "ON_ERROR_STOP=1", "-c", text])
    return run(command, True, cwd=stack.folder, env={**os.environ, **environment}).stdout.splitlines()


def start(stack: Stack, seconds: float) -> None:
    """Starts the stack's own PostgreSQL alone, until it answers; nothing with one of your own. Raises DifyError."""
    if stack.has_own_database:
        stack.compose("up", "--detach", "--quiet-pull", "--wait", "--wait-timeout", str(int(seconds)), DATABASE)


def settle_password(stack: Stack) -> None:
    """Gives PostgreSQL the password of `.env`: it keeps the one of its first start, whatever is said later."""
    live = env_file.live_texts(stack.folder)
    user, password = live.get("DB_USERNAME") or "postgres", live.get("DB_PASSWORD", "")
    # E'...' reads a backslash alike under every setting of the server
    said = password.replace("\\", "\\\\").replace("'", "''")
    text = "ALTER USER \"%s\" PASSWORD E'%s';\n" % (user, said)
    command, _ = _command(stack, ["psql", "-d", "postgres", "-q", "-v", "ON_ERROR_STOP=1"])
    run(command, True, cwd=stack.folder, input=text)


def databases(stack: Stack) -> list[str]:
    """Names of the declared databases that are there."""
    known = set(query(stack, "postgres", "SELECT datname FROM pg_database"))
    return [name for name in stack.config["databases"] if name in known]


def dump(stack: Stack, database: str, target: Path) -> None:
    """Writes a database in PostgreSQL's own archive format, consistent in itself. Raises DifyError."""
    size = int(query(stack, database, "SELECT pg_database_size(current_database())")[0])
    with (
        target.open("wb") as file,
        job_progress.watched("dump of database %s, at most" % database, file.fileno(), size),
    ):
        _stream(stack, ["pg_dump", "-Fc", "-d", database], database, stdout=file)


def restore(stack: Stack, database: str, source: Path) -> None:
    """Restores a dump into a database that is made anew. Raises DifyError; a half restored database is an error."""
    may = "SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user"
    if query(stack, "postgres", may) != ["t"]:  # it could drop the old one, and not make a new one
        user = (stack.config.get("postgres") or {}).get("user") or _user(stack)
        raise DifyError('PostgreSQL\'s user `%s` may not create databases: `ALTER ROLE "%s" CREATEDB`' % (user, user))
    for text in ('DROP DATABASE IF EXISTS "%s" WITH (FORCE)', 'CREATE DATABASE "%s"'):
        query(stack, "postgres", text % database)
    size = source.stat().st_size
    with source.open("rb") as file, job_progress.watched("restore of database %s" % database, file.fileno(), size):
        argv = ["pg_restore", "--no-owner", "--exit-on-error", "--single-transaction", "-d", database]
        _stream(stack, argv, database, stdin=file, stdout=subprocess.DEVNULL)


def _stream(
    stack: Stack, argv: list[str], database: str, stdout: IO[bytes] | int, stdin: IO[bytes] | None = None
) -> None:
    command, environment = _command(stack, argv)
    options: dict[str, Any] = {"cwd": stack.folder, "env": {**os.environ, **environment}}
    done = subprocess.run(command, stdin=stdin or subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE, **options)
    if done.returncode != 0:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["no word of why"]
        raise DifyError(
            "%s of database `%s` ended with %d: %s" % (argv[0], database, done.returncode, lines[-1][-300:])
        )
