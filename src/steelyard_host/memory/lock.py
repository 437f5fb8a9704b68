"""Versions locked in memory, within a budget: the page cache is a promise only where somebody holds it.

A version is held by a unit of its own, `steelyard-hold@PATH.service`: a process that maps the files, locks them and
sleeps. It is in nobody's data path: engines read the same pages as ever. Who has not been asked for longest goes first.
"""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

from steelyard_host import paths
from steelyard_host.memory import page_cache
from steelyard_host.system import systemd, vanishing
from steelyard_host.wire.store import Gone

ASKED = Path(paths.HELD)  # a file per held version; its time is when it was asked for last
UNIT = "steelyard-hold@%s.service"


def size_of(folder: Path) -> int:
    return sum(status.st_size for _, status in vanishing.files(folder))


def held() -> dict[Path, Path]:
    """Folders whose units run, those asked for longest ago first, with the file that says when."""
    marks = sorted(vanishing.stats(vanishing.entries(ASKED)), key=lambda marked: marked[1].st_mtime)
    folders = ((vanishing.text(mark), mark) for mark, _ in marks if systemd.is_active(UNIT % mark.name))
    return {Path(folder): mark for folder, mark in folders if folder}


def evicted(wanted: int, budget: int, sizes: dict[Path, int]) -> list[Path] | None:
    """Folders to let go so that `wanted` bytes fit into the budget; None where they never can.

    `sizes` are of what is held, those asked for longest ago first.
    """
    if wanted > budget:
        return None
    leaving: list[Path] = []
    left = sum(sizes.values())
    for folder, size in sizes.items():
        if left + wanted <= budget:
            break
        leaving.append(folder)
        left -= size
    return leaving


def ensure(folder: Path, budget: int) -> str | None:
    """Holds a version; others go where the budget asks for it. Why it is not held, or None."""
    others = held()
    instance, wanted = systemd.escape_path(str(folder)), size_of(folder)
    if others.pop(folder, None) is None:
        leaving = evicted(wanted, budget, {other: size_of(other) for other in others})
        if leaving is None:
            return "locking it takes %d bytes, and the budget is %d" % (wanted, budget)
        for other in leaving:
            release(other)
        reason = systemd.failure("systemctl", "start", UNIT % instance)
        if reason is not None:
            return "it could not be locked: %s" % (reason.splitlines() or ["no reason given"])[-1]
    ASKED.mkdir(parents=True, exist_ok=True)
    (ASKED / instance).write_text(str(folder))
    return None


def release(folder: Path) -> None:
    """Holds a version no more; its pages stay until somebody needs the memory."""
    instance = systemd.escape_path(str(folder))
    systemd.stop(UNIT % instance)
    (ASKED / instance).unlink(missing_ok=True)


def release_replaced(folder: Path) -> Gone:
    """Lets go of other versions of the same model: this one has taken their place. The answer has their folders."""
    replaced = [other for other in held() if other != folder and other.parent == folder.parent]
    for other in replaced:
        release(other)
    return Gone(tuple(str(other) for other in replaced))


def hold(folder: Path) -> int:
    """Locks every file, says so to systemd, and sleeps until a signal ends it. The unit's command."""
    for path in sorted(folder.rglob("*")):
        reason = page_cache.lock(path) if path.is_file() else None
        if reason is not None:
            raise SystemExit("%s: %s" % (path, reason))
    _notify("READY=1\nSTATUS=%d bytes locked" % size_of(folder))
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    return 0


def _notify(text: str) -> None:
    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.connect("\0" + address[1:] if address.startswith("@") else address)
            out.send(text.encode())
