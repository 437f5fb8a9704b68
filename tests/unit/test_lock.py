"""The lock's script as its keeper runs it: who keeps out whom."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from steelyard.engine.lock import HELD, LOST, SCRIPT, Keeper


class Locks:
    """`name`: lock or lock.ALIAS."""

    def __init__(self, folder: Path) -> None:
        self.script = SCRIPT.replace("d=/var/lib/steelyard;", f"d={folder};")
        assert str(folder) in self.script

    def __call__(self, verb: str, run: str, name: str, seconds: int = 60) -> tuple[int, list[str]]:
        owner = json.dumps({"run": run}) if verb == "take" else None
        words = ["sh", "-c", self.script, "lock", verb, run, str(seconds), name]
        done = subprocess.run(words, input=owner, capture_output=True, text=True)
        assert done.stderr == ""
        return done.returncode, [line for line in done.stdout.splitlines() if line]


@pytest.fixture
def locks(tmp_path: Path) -> Locks:
    return Locks(tmp_path)


def test_rollouts_of_two_aliases_run_beside_each_other_and_no_apply_does(locks: Locks) -> None:
    assert locks("take", "r1", "lock.a")[0] == 0
    assert locks("take", "r2", "lock.b")[0] == 0
    code, told = locks("take", "r3", "lock.a")
    assert (code, json.loads(told[0])) == (HELD, {"run": "r1"})
    assert locks("take", "r4", "lock")[0] == HELD
    assert len(locks("show", "-", "lock")[1]) == 4, "two locks, two lines each"
    assert locks("release", "r1", "lock.a")[0] == 0
    assert locks("take", "r4", "lock")[0] == HELD
    assert locks("release", "r2", "lock.b")[0] == 0
    assert locks("take", "r4", "lock")[0] == 0


def test_an_apply_keeps_rollouts_out(locks: Locks) -> None:
    assert locks("take", "r1", "lock")[0] == 0
    assert locks("take", "r2", "lock.a")[0] == HELD
    assert locks("renew", "r1", "lock")[0] == 0
    assert locks("renew", "r2", "lock.a")[0] == LOST


def test_one_alias_is_broken_alone_and_without_a_name_all_are(locks: Locks) -> None:
    for number, name in enumerate(("lock.a", "lock.b", "lock.c")):
        locks("take", f"r{number}", name)
    assert len(locks("break", "-", "lock.a")[1]) == 2
    assert locks("renew", "r0", "lock.a")[0] == LOST
    assert locks("renew", "r1", "lock.b")[0] == 0
    assert len(locks("break", "-", "lock")[1]) == 4
    assert locks("show", "-", "lock")[1] == []


def test_a_lock_that_has_ended_is_in_nobodys_way(locks: Locks) -> None:
    locks("take", "r1", "lock.a", seconds=-1)
    assert locks("take", "r2", "lock")[0] == 0


def test_an_alias_with_a_slash_is_one_folder() -> None:
    assert Keeper(None, "inventory", alias="org/model").name == "lock.org_model"  # type: ignore[arg-type]
