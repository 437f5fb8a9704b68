"""Whatever a host was told to keep is there after its power went, whole: on real ext4 and XFS, cut in the middle."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.power_cut import Disk
from support.state_writer import HASTY, KINDS, Kind

CUTS = int(os.environ.get("STEELYARD_POWER_CUTS", "20"))  # of all kinds, on both file systems
TESTS = Path(__file__).parents[1]
pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="a file system is mounted, which needs root"),
]


@pytest.fixture(params=["ext4", "xfs"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    made = Disk(request.param, tmp_path)
    yield made
    made.close()


class Writer:
    """A process that writes the kinds round by round, and what it has said to be done."""

    def __init__(self, disk: Disk, kinds: list[str]) -> None:
        environment = {
            **os.environ,
            "PYTHONPATH": f"{TESTS}:{TESTS / 'unit'}",
            "XDG_CACHE_HOME": str(disk.image.parent),
        }
        command = [sys.executable, "-m", "support.state_writer", str(disk.folder), *kinds]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        self.done = dict.fromkeys(kinds, 0)
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            number, _, kind = line.strip().partition(" ")
            self.done[kind] = int(number)

    def wait_for_a_round(self) -> None:
        before = min(self.done.values())
        while min(self.done.values()) == before:
            assert self.process.poll() is None
            time.sleep(0.005)


def cut(disk: Disk, kinds: dict[str, Kind], times: int) -> Iterator[tuple[str, int, int | str]]:
    """Of each cut and kind: the round that was said to be done, and the one that is found, or why none is."""
    chance = random.Random(times)
    writer = Writer(disk, list(kinds))
    try:
        for _ in range(times):
            writer.wait_for_a_round()
            time.sleep(chance.uniform(0, 0.2))
            done = dict(writer.done)
            with disk.cut(writer.process) as after:
                for name, kind in kinds.items():
                    try:
                        yield name, done[name], kind.read(after)
                    except Exception as error:
                        yield name, done[name], f"{type(error).__name__}: {error}"
    finally:
        writer.process.kill()
        writer.process.wait()


def test_what_was_done_is_there_and_whole_after_every_cut(
    disk: Disk, record_property: Callable[[str, object], None]
) -> None:
    looks = [
        look
        for one, kind in KINDS.items()  # alone: another's waiting writes what is in the journal of the file system too
        for look in cut(disk, {one: kind}, max(CUTS // 2 // len(KINDS), 1))
    ]
    lost = [
        f"{name}: round {done} was done, and found is {found}"
        for name, done, found in looks
        if isinstance(found, str) or found < done
    ]
    record_property("power_cuts", len(looks))
    record_property("unknown_states", len(lost))
    assert not lost, "\n".join(lost[:10])


def test_the_cuts_find_a_writer_that_waits_for_nothing(disk: Disk) -> None:
    assert any(found != done for _, done, found in cut(disk, {"hasty": HASTY}, 3))
