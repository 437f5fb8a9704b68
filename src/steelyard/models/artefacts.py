"""What engines make of versions on hosts, and other hosts may use: who has it, under which key, and where it came from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass
class Shared:
    """A service of a host: its key, where its artefacts come from (None: nobody like it has any), what it was sent."""

    host: str
    service: str
    key: str
    parts: dict[str, Any]
    bytes: int = 0
    origin: str | None = None
    received: int = 0
    error: str | None = None
