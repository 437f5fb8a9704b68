"""Never two holders: schedules of runs and faults over a keeper of steps, and that keeper held to the real script.

`STEELYARD_LOCK_SCHEDULES=100000` for as many schedules.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from support.lock_keeper import Broken, Keeper, Script
from support.lock_schedules import Gullible, Schedule
from support.lock_script_here import KeeperHere, Said, request

SCHEDULES = int(os.environ.get("STEELYARD_LOCK_SCHEDULES", "4000"))
REAL_ORDERS = 50  # of four requests each
ENOUGH = 6000  # schedules in which a broken lock is found


def test_no_schedule_has_two_holders(record_property: Callable[[str, object], None]) -> None:
    held, double = 0, []
    for number in range(SCHEDULES):
        schedule = Schedule(number)
        if (both := schedule.double()) is not None:
            double.append((number, both))
        held += schedule.held
    record_property("double_locks", len(double))
    assert double == []
    assert held > SCHEDULES, "locks were had, and not only refused"


@pytest.mark.parametrize(
    "broken",
    [
        Broken(reboot_frees=True),
        Broken(torn_is_free=True),
        Broken(ignores_failures=True),
        Broken(wall_clock=True),
        Broken(forgets_to_sync=True),
        Broken(renews_what_ended=True),
    ],
    ids=str,
)
def test_the_schedules_find_a_keeper_that_is_wrong(broken: Broken) -> None:
    assert any(Schedule(number, broken).double() for number in range(ENOUGH))


@pytest.mark.parametrize(
    "gullible",
    [
        Gullible(any_keeper=True),
        Gullible(host_names=True),
        Gullible(boots=True),
        Gullible(counts_from_answer=True),
        Gullible(lost_is_granted=True),
    ],
    ids=str,
)
def test_the_schedules_find_a_run_that_believes_too_much(gullible: Gullible) -> None:
    assert any(Schedule(number, gullible=gullible).double() for number in range(ENOUGH))


# The keeper of steps, and the script


def played(keeper: Keeper, script: Script, fail: int, kill: int) -> Said:
    """The steps, with the same command failing, or the same kill before it, as the script has."""
    steps, commands = script.steps(), list[str]()
    try:
        command = next(steps)
        while True:
            commands.append(command)
            if len(commands) == kill:
                return Said(-9, [], commands)
            command = steps.send(len(commands) != fail)
    except StopIteration as ended:
        code, lines = ended.value
        return Said(code, lines, commands)
    finally:
        keeper.mutex = None


@pytest.mark.parametrize("number", range(REAL_ORDERS))
def test_the_steps_are_the_scripts(number: int, tmp_path: Path) -> None:
    random = Random(number)
    real, keeper = KeeperHere(tmp_path), Keeper("k", "boot-1")
    for _ in range(4):
        verb = random.choice(("take", "take", "take", "renew", "release", "show", "break"))
        run = "-" if verb in ("show", "break") else random.choice(("r1", "r2"))
        name = random.choice(("lock", "lock", "lock.a"))
        fault, at = random.choice(("none", "none", "fail", "kill")), random.randint(1, 20)
        fail, kill = (at if fault == "fail" else 0), (at if fault == "kill" else 0)
        said = real(verb, run, name, fail=fail, kill=kill)
        expected = played(keeper, Script(keeper, verb, run, 600, name, request(run)), fail, kill)
        assert said == expected, (verb, run, name, fault, at)
        assert real.folders() == keeper.places, (verb, run, name, fault, at)
        keeper.up += (passed := random.choice((0, 100, 700)))
        keeper.age += passed
        keeper.wall += passed + random.choice((0, 0, -900, 4000))
        if random.random() < 0.2:
            keeper.boot, keeper.age = f"boot-{random.randint(2, 99)}", random.choice((3, 700))
        real.wall = keeper.wall
        real.set(keeper.boot, keeper.up, keeper.age)
