"""Bring a version into the page cache before an engine maps it: in order, with several readers, and no more than fits.

vLLM loads lazily through mmap from local disks: each page is a fault that one thread waits for. Read beforehand, a cold
start is about as fast as a warm one (facts: store.md sections 3 and 7). What is resident is asked of the kernel by
mincore, as root: for anybody else it says that everything is.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from steelyard_host import tier
from steelyard_host.pages import resident

STEP = 4 << 20  # bytes
READERS = 4
ENOUGH = 0.98  # of the pages
SHARE = 0.9  # of the memory that is to be had
QUEUE = Path("/run/steelyard/warming")
SETTLE_S = 0.5  # in which those that a boot starts together can line up


class Turn(NamedTuple):
    """Several services of a host start at once: the lowest `order` reads first, and no more than `at_once` together."""

    order: int
    at_once: int


@contextmanager
def turn(wanted: Turn, until: float, queue: Path = QUEUE) -> Iterator[bool]:
    """True once it is our turn, False where time is over before. Who waits holds a ticket, which a dead process does not."""
    queue.mkdir(parents=True, exist_ok=True)
    ticket = queue / ("%08d-%020d-%d" % (max(0, wanted.order), time.monotonic_ns(), os.getpid()))
    with ticket.open("w") as mine:
        fcntl.flock(mine, fcntl.LOCK_EX)
        try:
            time.sleep(min(SETTLE_S, max(0.0, until - time.monotonic())))
            while not (first := ticket.name in _waiting(queue)[: max(1, wanted.at_once)]) and time.monotonic() < until:
                time.sleep(0.1)
            yield first
        finally:
            ticket.unlink(missing_ok=True)


def _waiting(queue: Path) -> list[str]:
    """Tickets in their order, those of dead processes removed."""
    found = []
    for path in sorted(queue.iterdir()):
        try:
            with path.open() as other:
                fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)
            path.unlink(missing_ok=True)
        except BlockingIOError:
            found.append(path.name)
        except OSError:
            continue
    return found


def in_turn(folder: Path, seconds: float, wanted: Turn, lock: int) -> dict[str, Any]:
    """Warm a version when it is its turn; then lock it, where there is a budget for that. Never fails a start."""
    until = time.monotonic() + seconds
    with turn(wanted, until) as first:
        told = warm(folder, max(0.0, until - time.monotonic()) if first else 0.0)
        if lock and told["why_not"] is None:  # still in turn: two that make room at once would not see each other
            told["why_not"] = tier.ensure(folder, lock)
    return told


def room(meminfo: Path = Path("/proc/meminfo"), cgroup: Path | None = None) -> int:
    """Bytes of page cache that can be had without taking memory from anybody: the host's, and this unit's own limit."""
    lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines() if ":" in line)
    found = int(lines["MemAvailable"].split()[0]) * 1024
    folder = cgroup or _own_cgroup()
    while folder is not None and folder != folder.parent:
        try:
            limit, used = (folder / "memory.max").read_text().strip(), int((folder / "memory.current").read_text())
            if limit != "max":
                found = min(found, int(limit) - used)
        except (OSError, ValueError):
            pass
        folder = folder.parent if folder.parent != Path("/sys/fs") else None
    return max(0, int(found * SHARE))


def _own_cgroup() -> Path | None:
    try:
        line = next(line for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::"))
    except (OSError, StopIteration):
        return None
    return Path("/sys/fs/cgroup") / line[3:].lstrip("/")


def warm(folder: Path, seconds: float) -> dict[str, Any]:
    """Read what is not resident, in the order of names as an engine does, for at most so long. Never fails a start."""
    files = sorted((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.name)
    size = sum(path.stat().st_size for path in files)
    before = sum(resident(path) for path in files)
    told: dict[str, Any] = {"bytes": size, "resident_before": before, "resident": before, "seconds": 0.0, "why_not": None}
    if before >= ENOUGH * size:
        return told
    if size - before > room():
        told["why_not"] = "%d bytes are missing and %d may be taken" % (size - before, room())
        return told
    began = time.monotonic()
    until = began + seconds
    spans = [(path, at) for path in files for at in range(0, path.stat().st_size, STEP)]
    with ThreadPoolExecutor(READERS) as pool:
        list(pool.map(lambda span: _read(span[0], span[1], until), spans))
    told["resident"] = sum(resident(path) for path in files)
    told["seconds"] = round(time.monotonic() - began, 3)
    if told["resident"] < ENOUGH * size:
        told["why_not"] = "time was over" if time.monotonic() >= until else "the kernel took pages back"
    return told


def _read(path: Path, at: int, until: float) -> None:
    """One step; the kernel reads it at once, whatever its read-ahead is set to."""
    if time.monotonic() >= until:
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.preadv(handle, [bytearray(STEP)], at)
    except OSError:
        pass  # the engine will say it
    finally:
        os.close(handle)
