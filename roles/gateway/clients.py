"""Clients of the gateway and their keys: several of one client are valid at once, each until its end. Pure.

A key is declared in the vault; the gateway's host gets its SHA-256 only, and HAProxy asks the clock itself, so that a
key ends without anybody's doing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, field_validator

from steelyard.serving.key_ends import NEVER

DAY_S = 86400


class ClientKey(BaseModel):
    """One key of a client."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    key: SecretStr = Field(min_length=1, description="The key; in the vault.")
    until: date | datetime | None = Field(
        None,
        description=(
            "When it ends: a date, whose whole day (UTC) it is still valid, or a time with its offset; None: never."
        ),
    )

    @field_validator("until", mode="before")
    @classmethod
    def _date_or_time(cls, value: Any) -> Any:
        """A date stays a date: as a time it would be the day's first moment."""
        return date.fromisoformat(value) if isinstance(value, str) and len(value) == 10 else value

    @field_validator("until")
    @classmethod
    def _with_an_offset(cls, value: date | datetime | None) -> date | datetime | None:
        if isinstance(value, datetime) and value.tzinfo is None:
            raise ValueError("a time with its offset from UTC, as 2026-12-31T18:00:00Z, or a date")
        return value

    @property
    def end(self) -> int:
        """Seconds since 1970 from which it is refused."""
        if self.until is None:
            return NEVER
        if isinstance(self.until, datetime):
            return min(int(self.until.timestamp()), NEVER)
        return min(int(datetime.combine(self.until, time(), UTC).timestamp()) + DAY_S, NEVER)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.key.get_secret_value().encode()).hexdigest()


class Client(BaseModel):
    """A client with several keys: the one that its users have, and the one that they are to take."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    keys: tuple[ClientKey, ...] = Field(min_length=1, description="Its keys, each valid until its own end.")

    @property
    def newest(self) -> ClientKey:
        """The key that ends last, and of those without an end the one that is declared last."""
        return max(enumerate(self.keys), key=lambda entry: (entry[1].end, entry[0]))[1]


def _whole(declared: Any) -> Any:
    """A key alone is a client with one key."""
    return {"keys": [{"key": declared}]} if isinstance(declared, str | SecretStr) else declared


DeclaredClient = Annotated[Client, BeforeValidator(_whole, json_schema_input_type=SecretStr | Client)]
Clients = Mapping[str, Client]


def twice(clients: Clients) -> str | None:
    """The client that has a key which stands there twice; None where each stands there once."""
    seen: set[str] = set()
    for name, client in clients.items():
        for entry in client.keys:
            if entry.sha256 in seen:
                return name
            seen.add(entry.sha256)
    return None


def key_lines(clients: Clients) -> str:
    """`SHA256 NAME` for each key: HAProxy hashes what a client shows and looks it up. One that has ended is listed too,
    so that its client is told."""
    return "".join(f"{entry.sha256} {name}\n" for name, client in sorted(clients.items()) for entry in client.keys)


def end_lines(clients: Clients) -> str:
    """`SHA256 SECONDS` for each key that ends."""
    ends = [(entry.sha256, entry.end) for _, client in sorted(clients.items()) for entry in client.keys]
    return "".join(f"{sha256} {end}\n" for sha256, end in ends if end != NEVER)


def declared_keys(clients: Clients) -> tuple[tuple[str, tuple[tuple[str, int], ...]], ...]:
    """Name, and hash and end of each key, of every client."""
    return tuple(
        (name, tuple((entry.sha256, entry.end) for entry in client.keys)) for name, client in sorted(clients.items())
    )
