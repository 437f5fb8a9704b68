"""Bring a version into the page cache before an engine maps it: in order, with several readers, and no more than fits.

vLLM loads lazily through mmap from local disks: each page is a fault that one thread waits for. Read beforehand, a cold
start is about as fast as a warm one (docs/design/model-store.md). What is resident is asked of the kernel by
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
from typing import NamedTuple

from steelyard_host import paths
from steelyard_host.memory import lock as memory_lock
from steelyard_host.memory.page_cache import resident
from steelyard_host.system import vanishing
from steelyard_host.wire.store import Warming

STEP = 4 << 20  # bytes
READERS = 4
ENOUGH = 0.98  # of the pages
SHARE = 0.9  # of the memory that is to be had
QUEUE = Path(paths.WARMING)
SETTLE_S = 0.5  # in which those that a boot starts together can line up


class Turn(NamedTuple):
    """Place among services of a host that start at once: the lowest `order` first, `at_once` together."""

    order: int
    at_once: int


@contextmanager
def turn(place: Turn, until: float, queue: Path = QUEUE) -> Iterator[bool]:
    """Gives True once it is our turn, False where time is over before.

    Who waits holds a ticket, which a dead process does not.
    """
    queue.mkdir(parents=True, exist_ok=True)
    ticket = queue / ("%08d-%020d-%d" % (max(0, place.order), time.monotonic_ns(), os.getpid()))
    with ticket.open("w") as mine:
        fcntl.flock(mine, fcntl.LOCK_EX)
        try:
            time.sleep(min(SETTLE_S, max(0.0, until - time.monotonic())))
            while not (first := ticket.name in _waiting(queue)[: max(1, place.at_once)]) and time.monotonic() < until:
                time.sleep(0.1)
            yield first
        finally:
            ticket.unlink(missing_ok=True)


def _waiting(queue: Path) -> list[str]:
    """Tickets in their order, those of dead processes removed."""
    tickets = []
    for path in sorted(queue.iterdir()):
        try:
            with path.open() as other:
                fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)
            path.unlink(missing_ok=True)
        except BlockingIOError:
            tickets.append(path.name)
        except OSError:
            continue
    return tickets


def in_turn(folder: Path, seconds: float, place: Turn, budget: int) -> Warming:
    """Warms a version when it is its turn; then locks it, where `budget` bytes may be locked. Never fails a start."""
    until = time.monotonic() + seconds
    with turn(place, until) as first:
        warmed = warm(folder, max(0.0, until - time.monotonic()) if first else 0.0)
        if budget and warmed.why_not is None:  # still in turn: two that make room at once would not see each other
            return warmed._replace(why_not=memory_lock.ensure(folder, budget))
    return warmed


def available(meminfo: Path = Path("/proc/meminfo"), cgroup: Path | None = None) -> int:
    """Bytes of page cache that can be had without taking memory from anybody: the host's, and this unit's own limit."""
    lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines() if ":" in line)
    free = int(lines["MemAvailable"].split()[0]) * 1024
    folder = cgroup or _own_cgroup()
    while folder is not None and folder != folder.parent:
        try:
            limit, used = (folder / "memory.max").read_text().strip(), int((folder / "memory.current").read_text())
            if limit != "max":
                free = min(free, int(limit) - used)
        except (OSError, ValueError):
            pass
        folder = folder.parent if folder.parent != Path("/sys/fs") else None
    return max(0, int(free * SHARE))


def _own_cgroup() -> Path | None:
    try:
        line = next(line for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::"))
    except (OSError, StopIteration):
        return None
    return Path("/sys/fs/cgroup") / line[3:].lstrip("/")


def warm(folder: Path, seconds: float) -> Warming:
    """Reads what is not resident, in the order of names as an engine does, for at most so long. Never fails a start."""
    sizes = {path: status.st_size for path, status in vanishing.files(folder)}
    files = sorted(sizes, key=lambda path: path.name)
    size = sum(sizes.values())
    before = sum(resident(path) for path in files)
    if before >= ENOUGH * size:
        return Warming(size, before, before, 0.0, None)
    if size - before > available():
        reason = "%d bytes are missing and %d may be taken" % (size - before, available())
        return Warming(size, before, before, 0.0, reason)
    began = time.monotonic()
    until = began + seconds
    spans = [(path, at) for path in files for at in range(0, sizes[path], STEP)]
    with ThreadPoolExecutor(READERS) as pool:
        list(pool.map(lambda span: _read(span[0], span[1], until), spans))
    after = sum(resident(path) for path in files)
    took = round(time.monotonic() - began, 3)
    lost = "time was over" if time.monotonic() >= until else "the kernel took pages back"
    return Warming(size, before, after, took, lost if after < ENOUGH * size else None)


def _read(path: Path, at: int, until: float) -> None:
    """Reads one step; the kernel reads it at once, whatever its read-ahead is set to."""
    if time.monotonic() >= until:
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.preadv(handle, [bytearray(STEP)], at)
    except OSError:
        pass  # the engine will say it
    finally:
        os.close(handle)
