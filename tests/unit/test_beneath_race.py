"""Somebody swaps folders for links, and files for links and FIFOs, all the time that root works in the same folder.

Counted: rounds of swaps, backups that went on, and what of `outside` was read or written: nothing.
"""

from __future__ import annotations

import io
import mmap
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest

from steelyard_host.dify import archive, lifecycle, staging
from steelyard_host.dify.stack import RECORD, DifyError, Stack
from steelyard_host.wire.dify import ArchiveList

pytestmark = pytest.mark.usefixtures("closes_at_once")
ROUNDS = 10_000
SECRET = b"the host's own, which no container may see"
# one round: a folder is a link for a moment, a file is a link, then a FIFO, then a file again, shorter than before
NEIGHBOUR = """
import contextlib, mmap, os, shutil, sys, time
volume, outside, counter = sys.argv[1:]
counted = mmap.mmap(os.open(counter, os.O_RDWR), 8)
os.chdir(volume)

def swap(folder, large, wait):
    os.rename(folder, "away")
    os.symlink(outside, folder)
    time.sleep(wait)
    os.unlink(folder)
    os.symlink(outside + "/cron.d", "fresh")
    os.rename("fresh", folder)
    os.unlink(folder)
    os.rename("away", folder)
    time.sleep(wait)
    file = folder + "/f"
    os.symlink(outside + "/secret", "fresh")
    os.rename("fresh", file)
    time.sleep(wait)
    os.mkfifo("fresh")
    os.rename("fresh", file)
    with open("fresh", "wb") as written:
        written.write(b"x" * (2 << 20 if large else 100))
    os.rename("fresh", file)
    os.truncate(file, 10)

def clear(folder):  # root has made a folder or a file where one was to be put
    for name in ("fresh", folder) if os.path.lexists("away") else ("fresh", folder + "/f"):
        if os.path.isdir(name) and not os.path.islink(name):
            shutil.rmtree(name, ignore_errors=True)
        elif os.path.lexists(name):
            os.unlink(name)
    if os.path.lexists("away"):
        os.rename("away", folder)

rounds = 0
while True:
    rounds += 1
    folder = "a/d" if rounds % 2 else "d"
    is_whole = False
    while not is_whole:
        try:
            swap(folder, rounds % 50 == 0, rounds % 5 * 0.0001)
            is_whole = True
        except OSError:
            with contextlib.suppress(OSError):
                clear(folder)
    counted[:] = rounds.to_bytes(8, "little")
"""


class Neighbour:
    """The process that swaps; `rounds` are those that it has done."""

    def __init__(self, volume: Path, outside: Path, counter: Path) -> None:
        counter.write_bytes(bytes(8))
        with counter.open("rb") as file:
            self._counted = mmap.mmap(file.fileno(), 8, prot=mmap.PROT_READ)
        argv = [sys.executable, "-I", "-c", NEIGHBOUR, str(volume), str(outside), str(counter)]
        self.process = subprocess.Popen(argv)

    @property
    def rounds(self) -> int:
        assert self.process.poll() is None, "the neighbour ended"
        return int.from_bytes(self._counted[:], "little")


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder in memory where there is one: a disk would be the slowest part of a round."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as made:
        yield Path(made)


@pytest.fixture
def outside(place: Path) -> Path:
    made = place / "outside"
    (made / "cron.d").mkdir(parents=True)
    (made / "secret").write_bytes(SECRET)
    (made / "cron.d/f").write_bytes(SECRET)
    (made / "f").write_bytes(SECRET)
    return made


@pytest.fixture
def folder(place: Path) -> Path:
    """A project's folder, in which a container writes below volumes/plugin_daemon."""
    made = place / "dify"
    volume = made / "volumes/plugin_daemon"
    for name in ("d/f", "d/cron.d/g", "a/d/f", "a/d/cron.d/g", "z"):
        (volume / name).parent.mkdir(parents=True, exist_ok=True)
        (volume / name).write_text("the volume's")
    (made / "docker-compose.yaml").write_text("services: {}")
    return made


@pytest.fixture
def neighbour(folder: Path, outside: Path, place: Path) -> Iterator[Neighbour]:
    started = Neighbour(folder / "volumes/plugin_daemon", outside, place / "counter")
    try:
        yield started
    finally:
        started.process.kill()
        started.process.wait()


@contextmanager
def not_for_ever(seconds: int) -> Iterator[None]:
    """What hangs fails the test: a signal ends a system call that waits, and this raises."""

    def hangs(number: int, frame: FrameType | None) -> None:
        raise AssertionError("it hangs")

    before = signal.signal(signal.SIGALRM, hangs)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def state(folder: Path) -> dict[str, tuple[int, int, int, bytes]]:
    """Everything below a folder: mode, links, time of the last change, content."""
    found = {}
    for path in [folder, *sorted(folder.rglob("*"))]:
        status = path.lstat()
        content = path.read_bytes() if path.is_file() else b""
        found[str(path.relative_to(folder))] = (status.st_mode, status.st_nlink, status.st_ctime_ns, content)
    return found


def leaked(folder: Path) -> list[str]:
    """Names of plain files below a folder that hold the secret; links are not followed."""
    found = []
    for at, _, files in os.walk(folder):
        for name in files:
            path = Path(at, name)
            if path.is_file() and not path.is_symlink() and SECRET in path.read_bytes():
                found.append(str(path))
    return found


def stack_of(folder: Path) -> Stack:
    return Stack({"folder": str(folder), "project": "dify", "port": 80})


def until(neighbour: Neighbour, rounds: int, times: int, work: Callable[[], object]) -> int:
    """Work again and again, so often at least, and until the neighbour has done the rounds; how often it was."""
    done = 0
    while done < times or neighbour.rounds < rounds:
        work()
        done += 1
    return done


def test_backups_and_restores_beside_a_neighbour_who_swaps(
    folder: Path, outside: Path, neighbour: Neighbour, place: Path, record_property: Callable[[str, object], None]
) -> None:
    before, told, leaks = state(outside), 0, []
    head = ArchiveList("1.0", "", "test", "here", (), {}, {})
    work, out = place / "work", place / "out"
    work.mkdir()

    def backup() -> None:
        nonlocal told
        with not_for_ever(60):
            listed = archive.write(stack_of(folder), work, head)
            assert archive.verify(work / "archive").files == listed.files
            archive.extract(work / "archive", out)
        assert (out / "dify/volumes/plugin_daemon/z").read_text() == "the volume's"
        told += listed.passed_over_count
        leaks.extend(leaked(out))
        shutil.rmtree(out)

    backups = until(neighbour, ROUNDS, 100, backup)
    record_property("rounds", neighbour.rounds)
    record_property("backups", backups)
    record_property("outside_writes", int(state(outside) != before))
    assert neighbour.rounds >= ROUNDS
    assert told > 0, "nothing was swapped while a backup stood at it"
    assert leaks == []
    assert state(outside) == before


def packed(*names: str) -> bytes:
    with io.BytesIO() as stream:
        with tarfile.open(fileobj=stream, mode="w") as packing:
            for name in names:
                member = tarfile.TarInfo(name)
                member.size, member.mode = 3, 0o644
                packing.addfile(member, io.BytesIO(b"new"))
        return stream.getvalue()


def test_files_laid_beside_a_neighbour_who_swaps(
    folder: Path, outside: Path, neighbour: Neighbour, place: Path, record_property: Callable[[str, object], None]
) -> None:
    new, before, laid, refused = place / "new", state(outside), 0, 0
    names = [f"volumes/plugin_daemon/{name}" for name in ("a/d/f", "d/f", "d/cron.d/h")]
    for name in names:
        (new / name).parent.mkdir(parents=True, exist_ok=True)
        (new / name).write_text("new")
    (new / RECORD).write_text('{"version": "2", "files": {}}')
    gone = '{"version": "1", "files": {"volumes/plugin_daemon/d/secret": "", "volumes/plugin_daemon/d/cron.d/f": ""}}'
    seed = packed("d/f", "h", "cron.d/f")

    def lay() -> None:
        nonlocal laid, refused
        (folder / RECORD).write_text(gone)
        for work in (
            lambda: staging.lay_over(new, folder),
            lambda: lifecycle.place(folder, "volumes/plugin_daemon/a/d", io.BytesIO(seed), ".mark"),
        ):
            try:
                with not_for_ever(60):
                    work()
                laid += 1
            except (OSError, DifyError):
                refused += 1

    until(neighbour, ROUNDS // 2, 100, lay)
    record_property("rounds", neighbour.rounds)
    record_property("laid", laid)
    record_property("outside_writes", int(state(outside) != before))
    assert neighbour.rounds >= ROUNDS // 2
    assert laid > 0
    assert refused > 0, "nothing was swapped while a file was laid"
    assert state(outside) == before
