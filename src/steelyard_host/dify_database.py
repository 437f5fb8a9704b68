"""Dify's databases: asked, dumped and restored with PostgreSQL's own programs, in the stack's container or another's.

With a PostgreSQL of your own the programs run in a container of the image that the compose file names, which is there; the
password goes by the environment's name and is in no argv.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import IO, Any

from . import dify_doing, dify_env
from .dify_stack import DATABASE, DifyError, Stack, run


def _command(stack: Stack, words: list[str]) -> tuple[list[str], dict[str, str]]:
    """The argv of a PostgreSQL program, and the environment it needs."""
    outside = stack.config.get("postgres")
    if outside is None:
        user = _user(stack)
        return [
            "docker",
            "compose",
            "--project-name",
            stack.project,
            "exec",
            "-T",
            DATABASE,
            words[0],
            "-U",
            user,
            *words[1:],
        ], {}
    image = stack.compose("--profile", "postgresql", "config", "--images", DATABASE).stdout.split()[-1]
    to = ["-h", outside["host"], "-p", str(outside["port"]), "-U", outside["user"]]
    password = dify_env.parsed((stack.folder / dify_env.LIVE).read_text()).get("DB_PASSWORD", "")
    command = ["docker", "run", "--rm", "-i", "--network", "host", "-e", "PGPASSWORD", "--entrypoint", words[0], image]
    return [*command, *to, *words[1:]], {"PGPASSWORD": password}


def _user(stack: Stack) -> str:
    return dify_env.parsed((stack.folder / dify_env.LIVE).read_text()).get("DB_USERNAME") or "postgres"


def query(stack: Stack, database: str, text: str) -> list[str]:
    """Lines of one column. Raises DifyError."""
    command, environment = _command(stack, ["psql", "-d", database, "-At", "-v", "ON_ERROR_STOP=1", "-c", text])
    return run(command, True, cwd=stack.folder, env={**os.environ, **environment}).stdout.splitlines()


def start(stack: Stack, seconds: float) -> None:
    """The stack's own PostgreSQL alone, until it answers; nothing with one of your own. Raises DifyError."""
    if not stack.config.get("postgres"):
        stack.compose("up", "--detach", "--quiet-pull", "--wait", "--wait-timeout", str(int(seconds)), DATABASE)


def settle_password(stack: Stack) -> None:
    """The password of `.env` is the one that PostgreSQL has: it keeps the one of its first start, whatever is said later."""
    live = dify_env.parsed((stack.folder / dify_env.LIVE).read_text())
    user, password = live.get("DB_USERNAME") or "postgres", live.get("DB_PASSWORD", "").strip("'\"")
    text = "ALTER USER \"%s\" PASSWORD '%s';\n" % (user, password.replace("'", "''"))
    command, _ = _command(stack, ["psql", "-d", "postgres", "-q", "-v", "ON_ERROR_STOP=1"])
    run(command, True, cwd=stack.folder, input=text)


def databases(stack: Stack) -> list[str]:
    """Those of the declared ones that are there."""
    known = set(query(stack, "postgres", "SELECT datname FROM pg_database"))
    return [name for name in stack.config["databases"] if name in known]


def dump(stack: Stack, database: str, target: Path) -> None:
    """In PostgreSQL's own archive format, consistent in itself. Raises DifyError."""
    size = int(query(stack, database, "SELECT pg_database_size(current_database())")[0])
    with target.open("wb") as file, dify_doing.watched("dump of database %s, at most" % database, file.fileno(), size):
        _stream(stack, ["pg_dump", "-Fc", "-d", database], database, stdout=file)


def restore(stack: Stack, database: str, source: Path) -> None:
    """Into a database that is made anew. Raises DifyError; a half restored database is an error."""
    may = "SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user"
    if query(stack, "postgres", may) != ["t"]:  # it could drop the old one, and not make a new one
        user = (stack.config.get("postgres") or {}).get("user") or _user(stack)
        raise DifyError('PostgreSQL\'s user `%s` may not create databases: `ALTER ROLE "%s" CREATEDB`' % (user, user))
    for text in ('DROP DATABASE IF EXISTS "%s" WITH (FORCE)', 'CREATE DATABASE "%s"'):
        query(stack, "postgres", text % database)
    size = source.stat().st_size
    with source.open("rb") as file, dify_doing.watched("restore of database %s" % database, file.fileno(), size):
        words = ["pg_restore", "--no-owner", "--exit-on-error", "--single-transaction", "-d", database]
        _stream(stack, words, database, stdin=file, stdout=subprocess.DEVNULL)


def _stream(stack: Stack, words: list[str], database: str, stdout: IO[bytes] | int, stdin: IO[bytes] | None = None) -> None:
    command, environment = _command(stack, words)
    more: dict[str, Any] = {"cwd": stack.folder, "env": {**os.environ, **environment}}
    done = subprocess.run(command, stdin=stdin or subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE, **more)
    if done.returncode != 0:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["no word of why"]
        raise DifyError("%s of database `%s` ended with %d: %s" % (words[0], database, done.returncode, lines[-1][-300:]))
