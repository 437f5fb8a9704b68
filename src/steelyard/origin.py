"""Who runs this, and from where: for locks and audit lines, and to tell whether that run still lives."""

from __future__ import annotations

import getpass
import os
import secrets
import socket
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Origin:
    """One run of one process. `boot` and `begun` tell a process from a later one with the same number."""

    run: str
    who: str
    host: str
    pid: int
    boot: str
    begun: str
    since: str
    doing: str

    @classmethod
    def here(cls, doing: str) -> Origin:
        who = os.environ.get("SUDO_USER") or getpass.getuser()
        pid = os.getpid()
        return cls(secrets.token_hex(6), who, socket.gethostname(), pid, _boot(), _begun(pid), now(), doing)

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> Origin:
        """Raises KeyError where a field is missing."""
        return cls(**{name: found[name] for name in cls.__dataclass_fields__})

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def is_gone(self) -> bool:
        """True where it ran on this machine, and its process is no longer there. Of another machine nobody knows."""
        return self.host == socket.gethostname() and (self.boot != _boot() or self.begun != _begun(self.pid))


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _begun(pid: int) -> str:
    """When a process began, in ticks since boot; empty where there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19]
    except (OSError, IndexError):
        return ""
