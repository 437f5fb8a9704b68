"""Keeps the double's state in PostgreSQL, as Dify keeps its own: migrated by release, keys encrypted per workspace.

The workspace's private key lies in the storage folder, `privkeys/WORKSPACE/private.pem`, its public half in the table
`tenants`. A database without that file holds credentials that nobody can read any more: as in the real one.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path
from typing import Any

from .json_object import State


def connect(database: str | None = None) -> Any:
    """A connection by Dify's own variables."""
    import psycopg2  # type: ignore[import-untyped,unused-ignore]

    return psycopg2.connect(
        host=os.environ.get("DB_HOST", "db_postgres"),
        port=int(os.environ.get("DB_PORT") or 5432),
        user=os.environ.get("DB_USERNAME", "postgres"),
        password=os.environ.get("DB_PASSWORD", ""),
        dbname=database or os.environ.get("DB_DATABASE", "dify"),
        connect_timeout=10,
    )


class MigrationFailed(SystemExit):
    """A migration that cannot be done."""


class PostgresStore:
    """Loads and saves a state; `storage` is the folder that the real one calls app/storage."""

    def __init__(self, storage: Path, release: str) -> None:
        self.storage, self.release = storage, release

    def migrate(self, alone: bool) -> None:
        """Migrate to this release, `alone` or before serving; a database of a newer one is refused, as alembic
        refuses an unknown revision.
        """
        with connect() as link, link.cursor() as cursor:
            cursor.execute("CREATE TABLE IF NOT EXISTS alembic_version (version_num text)")
            cursor.execute("CREATE TABLE IF NOT EXISTS tenants (id text PRIMARY KEY, encrypt_public_key text)")
            cursor.execute("CREATE TABLE IF NOT EXISTS double_state (id int PRIMARY KEY, body text)")
            cursor.execute("SELECT version_num FROM alembic_version")
            row = cursor.fetchone()
            if row is not None and numbers(row[0]) > numbers(self.release):
                raise MigrationFailed("Can't locate revision identified by '%s'" % row[0])
            if "broken" in self.release:  # a release whose migration damages data and then fails
                cursor.execute("UPDATE double_state SET body = 'damaged'")
                link.commit()
                raise MigrationFailed("simulated: the migration to %s fails half way" % self.release)
            if "mute" in self.release and not alone:  # one that a rehearsal finds nothing wrong with
                cursor.execute("UPDATE double_state SET body = 'damaged'")
                link.commit()
                raise MigrationFailed("simulated: %s migrates, and does not start" % self.release)
            cursor.execute("DELETE FROM alembic_version")
            cursor.execute("INSERT INTO alembic_version VALUES (%s)", (self.release,))

    def load(self) -> State | None:
        with connect() as link, link.cursor() as cursor:
            cursor.execute("SELECT body FROM double_state WHERE id = 1")
            row = cursor.fetchone()
        if row is None:
            return None
        state: State = json.loads(row[0])
        key = self._key(state["tenant"])
        state["locked"] = key is None
        return state if key is None else _crypted(state, key)

    def save(self, state: State) -> None:
        if state.get("locked"):
            return
        key = self._key(state["tenant"])
        if key is None and self._has_public_key(state["tenant"]):
            return  # lost while it ran: nothing can be encrypted any more
        key = key or self._make_key(state["tenant"])
        body = json.dumps(_crypted(state, key))
        with connect() as link, link.cursor() as cursor:
            cursor.execute(
                "INSERT INTO double_state VALUES (1, %s) ON CONFLICT (id) DO UPDATE SET body = excluded.body", (body,)
            )

    def _has_public_key(self, tenant: str) -> bool:
        with connect() as link, link.cursor() as cursor:
            cursor.execute("SELECT 1 FROM tenants WHERE id = %s", (tenant,))
            return cursor.fetchone() is not None

    def _path(self, tenant: str) -> Path:
        return self.storage / "privkeys" / tenant / "private.pem"

    def _key(self, tenant: str) -> bytes | None:
        path = self._path(tenant)
        return hashlib.sha256(path.read_bytes()).digest() if path.exists() else None

    def _make_key(self, tenant: str) -> bytes:
        path = self._path(tenant)
        path.parent.mkdir(parents=True, exist_ok=True)
        quiet = {"check": True, "capture_output": True, "text": True}
        subprocess.run(["openssl", "genrsa", "-out", str(path), "2048"], **quiet)  # type: ignore[call-overload]
        public = subprocess.run(["openssl", "rsa", "-in", str(path), "-pubout"], **quiet).stdout  # type: ignore[call-overload]
        with connect() as link, link.cursor() as cursor:
            cursor.execute(
                (
                    "INSERT INTO tenants VALUES (%s, %s) ON CONFLICT (id) DO UPDATE SET encrypt_public_key = "
                    "excluded.encrypt_public_key"
                ),
                (tenant, public),
            )
        key = self._key(tenant)
        assert key is not None
        return key


def numbers(release: str) -> tuple[int, ...]:
    return tuple(int(part) for part in release.split("-")[0].split("."))


def _crypted(state: State, key: bytes) -> State:
    """A copy whose credentials' values are turned by the key; twice is the original. No real cipher: nothing is secret
    here.
    """
    copied: State = json.loads(json.dumps(state))
    for entry in (*copied["models"].values(), *copied.get("provider_credentials", {}).values()):
        for credential in entry["credentials"]:
            for name, value in credential["values"].items():
                credential["values"][name] = _turned(value, key)
    return copied


def _turned(value: str, key: bytes) -> str:
    if value.startswith("enc:"):
        data = bytes.fromhex(value[4:])
        return bytes(a ^ b for a, b in zip(data, _stream(key, len(data)))).decode()  # noqa: B905  runs on Python 3.9 too
    data = value.encode()
    return "enc:" + bytes(a ^ b for a, b in zip(data, _stream(key, len(data)))).hex()  # noqa: B905


def _stream(key: bytes, length: int) -> bytes:
    stream = b""
    while len(stream) < length:
        stream += hashlib.sha256(key + len(stream).to_bytes(4, "big")).digest()
    return stream
