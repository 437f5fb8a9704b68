"""Versions locked in memory, within a budget: the page cache is a promise only where somebody holds it.

A version is held by a unit of its own, `steelyard-hold@PATH.service`: a process that maps the files, locks them and sleeps. It
is in nobody's data path: engines read the same pages as ever. Who has not been asked for longest goes first.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from pathlib import Path

from steelyard_host import pages

ASKED = Path("/run/steelyard/held")  # a file per held version; its time is when it was asked for last
UNIT = "steelyard-hold@%s.service"


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def escaped(folder: Path) -> str:
    """The unit's instance for a folder; `%f` in the unit gives the folder back."""
    done = subprocess.run(["systemd-escape", "--path", str(folder)], stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.strip()


def held() -> dict[Path, Path]:
    """Folders whose units run, those asked for longest ago first, with the file that says when."""
    marks = sorted(ASKED.glob("*"), key=lambda mark: mark.stat().st_mtime) if ASKED.is_dir() else []
    return {Path(mark.read_text()): mark for mark in marks if _active(mark.name)}


def _active(instance: str) -> bool:
    return subprocess.run(["systemctl", "is-active", "--quiet", UNIT % instance], check=False).returncode == 0


def evicted(wanted: int, budget: int, sizes: dict[Path, int]) -> list[Path] | None:
    """Whom to let go so that `wanted` bytes fit; `sizes` are of what is held, those asked for longest ago first. None: never."""
    if wanted > budget:
        return None
    gone: list[Path] = []
    left = sum(sizes.values())
    for folder, size in sizes.items():
        if left + wanted <= budget:
            break
        gone.append(folder)
        left -= size
    return gone


def ensure(folder: Path, budget: int) -> str | None:
    """Hold a version; others go where the budget asks for it. Why it is not held, or None."""
    now = held()
    instance, wanted = escaped(folder), size_of(folder)
    mine = now.pop(folder, None)
    if mine is None:
        leave = evicted(wanted, budget, {other: size_of(other) for other in now})
        if leave is None:
            return "locking it takes %d bytes, and the budget is %d" % (wanted, budget)
        for other in leave:
            release(other)
        done = subprocess.run(["systemctl", "start", UNIT % instance], stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode != 0:
            return "it could not be locked: %s" % (done.stderr.strip().splitlines() or ["no reason given"])[-1]
    ASKED.mkdir(parents=True, exist_ok=True)
    (ASKED / instance).write_text(str(folder))
    return None


def release(folder: Path) -> None:
    """Hold it no more; its pages stay until somebody needs the memory."""
    instance = escaped(folder)
    subprocess.run(["systemctl", "stop", UNIT % instance], check=False)
    (ASKED / instance).unlink(missing_ok=True)


def release_replaced(folder: Path) -> list[str]:
    """Let go of other versions of the same model: this one has taken their place. Their folders."""
    gone = [other for other in held() if other != folder and other.parent == folder.parent]
    for other in gone:
        release(other)
    return [str(other) for other in gone]


def hold(folder: Path) -> int:
    """Lock every file, say so to systemd, and sleep until a signal ends it. The unit's command."""
    for path in sorted(folder.rglob("*")):
        why = pages.lock(path) if path.is_file() else None
        if why is not None:
            raise SystemExit("%s: %s" % (path, why))
    _notify("READY=1\nSTATUS=%d bytes locked" % size_of(folder))
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    return 0


def _notify(text: str) -> None:
    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.connect("\0" + address[1:] if address.startswith("@") else address)
            out.send(text.encode())
