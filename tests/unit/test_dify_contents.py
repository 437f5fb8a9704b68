"""What a database of Dify holds, asked of a real PostgreSQL with tables as two releases make them."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from steelyard_host.dify import contents, database
from steelyard_host.dify.contents import Contents

PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
AS_POSTGRES = ("setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups")
TABLES = """
CREATE TABLE accounts (id int);
CREATE TABLE apps (id int);
CREATE TABLE provider_models (id int, tenant_id text, provider_name text, model_name text, model_type varchar(40));
CREATE TABLE tenant_default_models (id int, tenant_id text, model_type varchar(40));
CREATE TABLE other (id int, model_type text);
INSERT INTO accounts VALUES (1), (2);
INSERT INTO provider_models VALUES
  (1, 'w1', 'p', 'qwen', 'text-generation'), (2, 'w1', 'p', 'bge m3', 'embeddings'),
  (3, 'w1', 'p', 'bge-r', 'reranking'),
  (4, 'w2', 'p', 'qwen', 'llm'), (5, 'w2', 'p', 'qwen', 'text-generation'), (6, 'w1', 'p', 'kokoro', 'tts');
INSERT INTO tenant_default_models VALUES (1, 'w1', 'text-generation');
INSERT INTO other VALUES (1, 'embeddings');
"""
MODELS = ("w1 llm qwen", "w1 rerank bge-r", "w1 text-embedding bge m3", "w1 tts kokoro", "w2 llm qwen")


@pytest.fixture
def psql(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A server of its own, and how it is asked; `database.query` asks it too."""
    if not PROGRAMS or os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("no PostgreSQL is installed here, or nobody may become its user")
    data = Path(tempfile.mkdtemp(prefix="steelyard-postgres-"))  # pytest's own folders are closed to other users
    shutil.chown(data, "postgres")

    def run(program: str, *argv: str, keep: bool = True) -> str:
        command = [*AS_POSTGRES, str(PROGRAMS[-1] / program), *argv]
        # a server that is started would hold a pipe open
        out = subprocess.PIPE if keep else subprocess.DEVNULL
        return subprocess.run(command, stdout=out, text=True, cwd=data, check=True).stdout

    run("initdb", "-D", str(data), "--no-sync", "-A", "trust", "-U", "postgres")
    options = f"-c listen_addresses='' -c unix_socket_directories={data} -c fsync=off"
    run("pg_ctl", "-D", str(data), "-w", "-l", str(data / "log"), "-o", options, "start", keep=False)

    def ask(text: str) -> str:
        return run("psql", "-h", str(data), "-U", "postgres", "-At", "-v", "ON_ERROR_STOP=1", "-c", text)

    monkeypatch.setattr(database, "query", lambda stack, name, text: ask(text).splitlines())
    yield ask
    run("pg_ctl", "-D", str(data), "-m", "immediate", "stop")
    shutil.rmtree(data)


def read() -> Contents:
    return contents.read(None, "dify")  # type: ignore[arg-type]  # the server of the test is asked


def test_rows_models_and_legacy_types_are_read_and_a_type_under_its_new_name_is_the_same_model(psql: Any) -> None:
    psql(TABLES)
    before = read()
    assert before == Contents({"accounts": 2, "apps": 0}, MODELS, {"provider_models": 4, "tenant_default_models": 1})
    assert before.shown == "5 models, 2 accounts, 0 apps"
    psql("UPDATE provider_models SET model_type = 'llm' WHERE model_type = 'text-generation'")
    psql("UPDATE provider_models SET model_type = 'text-embedding' WHERE model_type = 'embeddings'")
    psql("UPDATE provider_models SET model_type = 'rerank' WHERE model_type = 'reranking'")
    psql("DELETE FROM provider_models WHERE id = 5; UPDATE tenant_default_models SET model_type = 'llm'")
    after = read()
    assert (after.models, after.legacy) == (MODELS, {})
    assert contents.lost(before, after) == ""
    psql("DELETE FROM provider_models WHERE model_name = 'bge m3'; DELETE FROM accounts WHERE id = 1")
    assert contents.lost(before, read()) == "the database has no model bge m3 (text-embedding) any more"


def test_an_enum_for_the_type_and_tables_that_are_not_there_are_understood(psql: Any) -> None:
    assert read() == Contents({})
    psql("CREATE TYPE kinds AS ENUM ('llm', 'tts'); CREATE TABLE datasets (id int)")
    psql("CREATE TABLE provider_models (tenant_id uuid, model_name text, model_type kinds)")
    psql("INSERT INTO provider_models VALUES ('00000000-0000-0000-0000-000000000001', 'qwen', 'llm')")
    held = read()
    assert held == Contents({"datasets": 0}, ("00000000-0000-0000-0000-000000000001 llm qwen",), {})
    assert contents.lost(Contents({"accounts": 3}), held) == ""  # a release that has the table no more
