"""The owner of a run, who and from where: for locks and audit lines, and to tell whether that run still lives.

A host name tells people where a run is, and nothing more: two machines may have the same one, and two containers of a
machine too. What tells processes apart is machine, boot, PID namespace, number and start.
"""

from __future__ import annotations

import getpass
import hashlib
import hmac
import os
import secrets
import socket
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

# lock files on hosts, journals and `--json` have these keys since the first version
JSON_KEYS = {"user": "who", "process_start": "begun", "command": "doing"}


MACHINE_ID = Path("/etc/machine-id")


class ProcessPlace(NamedTuple):
    """A place where processes are told apart by number: a PID namespace of one boot of one machine. Empty: nobody
    knows.
    """

    machine: str
    boot: str
    pid_namespace: str

    @classmethod
    def here(cls) -> ProcessPlace:
        """Return the place of this process."""
        return cls(_machine(), _boot(), _pid_namespace())


@dataclass(frozen=True)
class RunOwner:
    """One run of one process. `boot` and `process_start` tell a process from a later one with the same number.

    `machine` and `pid_namespace` are empty in locks of before, which had none.
    """

    run: str
    user: str
    host: str
    pid: int
    boot: str
    process_start: str
    since: str
    command: str
    machine: str = ""
    pid_namespace: str = ""

    @classmethod
    def here(cls, command: str) -> RunOwner:
        """Return the owner of a run that this process begins now to do `command`."""
        user = os.environ.get("SUDO_USER") or getpass.getuser()
        pid, place = os.getpid(), ProcessPlace.here()
        return cls(
            run=secrets.token_hex(6),
            user=user,
            host=socket.gethostname(),
            pid=pid,
            boot=place.boot,
            process_start=process_start(pid) or "",
            since=now(),
            command=command,
            machine=place.machine,
            pid_namespace=place.pid_namespace,
        )

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> RunOwner:
        """Return the owner that `as_json` wrote. Raises KeyError where a field is missing, ValueError or TypeError
        where a number is none.
        """
        whole = {"machine": "", "pid_namespace": "", **stored}
        values: dict[str, Any] = {name: str(whole[JSON_KEYS.get(name, name)]) for name in cls.__dataclass_fields__}
        return cls(**{**values, "pid": int(whole["pid"])})

    def as_json(self) -> dict[str, str | int]:
        """Return the fields under the keys of lock files, journals and `lock show --json`."""
        return {JSON_KEYS.get(name, name): value for name, value in asdict(self).items()}

    @classmethod
    def json_keys(cls) -> list[str]:
        """Return the keys of `as_json`."""
        return [JSON_KEYS.get(name, name) for name in cls.__dataclass_fields__]

    def is_gone(self, place: ProcessPlace | None = None, start_of: Callable[[int], str | None] | None = None) -> bool:
        """Tell whether its process has certainly ended: it was of this very place, and is not there. Else False.

        After a reboot of its machine nobody can tell that from another machine with a copied id, so it is waited for.
        """
        theirs = ProcessPlace(self.machine, self.boot, self.pid_namespace)
        if not all(theirs) or not self.process_start or theirs != (place or ProcessPlace.here()):
            return False
        start = (start_of or process_start)(self.pid)
        return start is not None and start != self.process_start


def now() -> str:
    """Return the time in UTC as it stands in locks, journals and documents: `2026-01-31T23:59:59Z`."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def process_start(pid: int) -> str | None:
    """Return when a process of this PID namespace began, in ticks since boot; empty where there is none, None where
    there is one that may not be looked at.
    """
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19]
    except (OSError, IndexError):
        pass
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except (OSError, OverflowError):
        return None  # hidden, or no number that a process has
    return None


def _machine() -> str:
    """The machine's id as this program alone sees it: the id itself is not to leave the machine."""
    try:
        stored = MACHINE_ID.read_text().strip()
    except OSError:
        return ""
    return hmac.new(stored.encode(), b"steelyard", hashlib.sha256).hexdigest()[:32] if stored else ""


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _pid_namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").stat().st_ino)
    except OSError:
        return ""
