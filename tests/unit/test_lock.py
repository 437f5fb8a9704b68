"""The lock's script as its keeper runs it: who keeps out whom, whatever fails, and whatever clocks do."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from support.lock_script_here import KeeperHere, request

from steelyard.engine.lock_script import HELD, LOST, STEPS, LockState, kept_locks

STEPS_OF_TAKE = 12  # commands, where nothing is in the way
STEPS_OF_RENEW = 11


@pytest.fixture
def keeper(tmp_path: Path) -> KeeperHere:
    return KeeperHere(tmp_path)


def runs(lines: list[str]) -> list[str]:
    """The runs that hold what these lines tell."""
    return [lock.owner.run for lock in kept_locks("k", lines) if lock.owner is not None]


def test_rollouts_of_two_aliases_run_beside_each_other_and_no_apply_does(keeper: KeeperHere) -> None:
    assert keeper("take", "r1", "lock.a").code == 0
    assert keeper("take", "r2", "lock.b").code == 0
    said = keeper("take", "r3", "lock.a")
    assert (said.code, runs(said.lines)) == (HELD, ["r1"])
    assert keeper("take", "r4").code == HELD
    assert runs(keeper("show", "-").lines) == ["r1", "r2"]
    assert keeper("release", "r1", "lock.a").code == 0
    assert keeper("take", "r4").code == HELD
    assert keeper("release", "r2", "lock.b").code == 0
    assert keeper("take", "r4").code == 0


def test_an_apply_keeps_rollouts_out(keeper: KeeperHere) -> None:
    assert keeper("take", "r1").code == 0
    assert keeper("take", "r2", "lock.a").code == HELD
    assert keeper("renew", "r1").code == 0
    assert keeper("renew", "r2", "lock.a").code == LOST


def test_one_alias_is_broken_alone_and_without_a_name_all_are(keeper: KeeperHere) -> None:
    for number, name in enumerate(("lock.a", "lock.b", "lock.c")):
        keeper("take", f"r{number}", name)
    assert runs(keeper("break", "-", "lock.a").lines) == ["r0"]
    assert keeper("renew", "r0", "lock.a").code == LOST
    assert keeper("renew", "r1", "lock.b").code == 0
    assert runs(keeper("break", "-").lines) == ["r1", "r2"]
    assert keeper("show", "-").lines == []


def test_a_lock_that_has_ended_is_in_nobodys_way_and_is_not_renewed(keeper: KeeperHere) -> None:
    assert keeper("take", "r1", "lock.a", ttl=60).code == 0
    keeper.set("boot-1", 5060, 5060)
    assert keeper("take", "r2").code == HELD, "the second in which it was taken counts as whole"
    keeper.set("boot-1", 5061, 5061)
    assert keeper("take", "r2").code == 0
    assert keeper("renew", "r1", "lock.a").code == LOST, "an apply holds the fleet now"


def test_a_request_whose_answer_was_lost_may_be_made_again(keeper: KeeperHere) -> None:
    assert [keeper("take", "r1").code, keeper("take", "r1").code] == [0, 0]
    assert [keeper("release", "r1").code, keeper("release", "r1").code] == [0, 0]
    assert keeper.folders() == {}


# (a) Each step is checked


@pytest.mark.parametrize("step", range(1, STEPS_OF_TAKE + 1))
def test_a_lock_is_not_taken_where_a_step_fails(keeper: KeeperHere, step: int) -> None:
    said = keeper("take", "r1", fail=step)
    assert said.code in STEPS, said
    assert len(said.commands) == step, "nothing comes after it"
    # the run gives back what may be there; then the lock is free
    assert keeper("release", "r1").code == 0
    assert keeper("take", "r2").code == 0


def test_the_steps_of_take_are_as_many(keeper: KeeperHere) -> None:
    assert len(keeper("take", "r1").commands) == STEPS_OF_TAKE
    assert len(keeper("renew", "r1").commands) == STEPS_OF_RENEW


@pytest.mark.parametrize("step", range(1, STEPS_OF_RENEW + 1))
def test_a_lock_is_not_renewed_where_a_step_fails_and_is_held_still(keeper: KeeperHere, step: int) -> None:
    assert keeper("take", "r1").code == 0
    assert keeper("renew", "r1", fail=step).code in STEPS
    assert keeper("take", "r2").code == HELD
    assert keeper("renew", "r1").code == 0


@pytest.mark.parametrize("step", range(1, STEPS_OF_RENEW + 1))
def test_a_lock_is_whole_wherever_its_renewal_is_killed(keeper: KeeperHere, step: int) -> None:
    assert keeper("take", "r1").code == 0
    assert keeper("renew", "r1", kill=step).code == -9
    [folder] = keeper.folders().values()
    assert not folder.torn
    assert folder.record is not None
    assert (folder.record.run, folder.until is None, folder.owner is None) == ("r1", False, False)


@pytest.mark.parametrize("step", range(1, STEPS_OF_TAKE + 1))
def test_a_lock_is_there_whole_or_not_at_all_wherever_taking_it_is_killed(keeper: KeeperHere, step: int) -> None:
    assert keeper("take", "r1", kill=step).code == -9
    there = keeper.folders()
    assert [folder.record is not None and folder.record.run for folder in there.values()] in ([], ["r1"])
    assert keeper("take", "r2").code == (HELD if there else 0)


@pytest.mark.parametrize("size", [0, 1, 40, 90, 150])
def test_a_file_that_could_not_be_written_to_its_end_is_no_lock(keeper: KeeperHere, size: int) -> None:
    """The system's own refusal, after so many bytes of whichever file is the first to have more."""
    said = keeper("take", "r1", file_size=size)
    assert said.code in STEPS, said
    assert keeper.folders() == {}
    assert keeper("take", "r2").code == 0


def test_what_the_system_refuses_is_told_by_its_step(keeper: KeeperHere) -> None:
    assert keeper("take", "r1", stdin="{}\n").code == 80
    shutil.rmtree(keeper.disk)
    keeper.disk.write_text("no folder")
    assert keeper("take", "r1").code == 81
    keeper.disk.unlink()
    (keeper.disk / ".lock-mutex").mkdir(parents=True)
    assert keeper("take", "r1").code == 82
    (keeper.disk / ".lock-mutex").rmdir()
    for path in ("sys/kernel/random/boot_id", "uptime", "1/stat"):
        text = (keeper.proc / path).read_text()
        (keeper.proc / path).write_text("")
        assert keeper("take", "r1").code not in (0, HELD, LOST), path
        (keeper.proc / path).write_text(text)
    assert keeper.folders() == {}
    assert keeper("take", "r1").code == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
def test_a_full_disk_gives_no_lock_and_a_renewal_on_it_leaves_the_old_end(tmp_path: Path) -> None:
    keeper = KeeperHere(tmp_path)
    keeper.disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32k", "none", str(keeper.disk)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip(mounted.stderr.decode())
    try:
        filler = keeper.disk / "filler"
        with pytest.raises(OSError, match="No space left"):
            filler.write_bytes(bytes(1 << 20))
        assert keeper("take", "r1").code in STEPS
        assert keeper.folders() == {}
        filler.unlink()
        assert keeper("take", "r1").code == 0
        with pytest.raises(OSError, match="No space left"):
            filler.write_bytes(bytes(1 << 20))
        held = keeper.folders()
        assert keeper("renew", "r1").code in STEPS
        assert keeper.folders() == held
        assert keeper("release", "r1").code == 0, "giving it up takes no room"
        assert keeper.folders() == {}
    finally:
        subprocess.run(["umount", str(keeper.disk)], check=True)


def test_of_many_at_once_one_has_it(keeper: KeeperHere) -> None:
    """Real shells, side by side, and their own `flock`."""
    from steelyard.engine.lock_script import SCRIPT

    script = SCRIPT.replace("d=/var/lib/steelyard; proc=/proc;", f"d={keeper.disk}; proc={keeper.proc};")
    for turn in range(3):
        names = [f"r{turn}-{number}" for number in range(8)]
        shells = []
        for name in names:
            words = ["sh", "-c", script, "lock", "take", name, "600", "lock"]
            shell = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            assert shell.stdin is not None
            shell.stdin.write(request(name))
            shell.stdin.close()
            shells.append(shell)
        codes = [shell.wait(60) for shell in shells]
        for shell in shells:
            assert shell.stdout is not None
            shell.stdout.close()
        assert sorted(codes) == [0, *[HELD] * 7]
        [held] = keeper.folders().values()
        assert held.record is not None
        assert held.record.run == names[codes.index(0)]
        keeper("release", held.record.run)


@pytest.mark.parametrize("shell", ["sh", "dash", "bash"])
def test_it_is_the_same_in_every_shell(keeper: KeeperHere, shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    codes = [
        keeper(verb, run, "lock", shell=shell).code
        for verb, run in (("take", "r1"), ("take", "r2"), ("renew", "r1"), ("renew", "r2"), ("release", "r1"))
    ]
    assert codes == [0, HELD, 0, LOST, 0]


# (b) What cannot be read is held


TORN = {
    "empty": "",
    "no end": 'steelyard-lock r1 boot-1 6000 600\n{"run": "r1"}\n',
    "cut": "steelyard-lock r1 bo",
    "no number": 'steelyard-lock r1 boot-1 soon 600\n{"run": "r1"}\nend\n',
    "other words": 'something else r1 boot-1 6000 600\n{"run": "r1"}\nend\n',
    "too many": 'steelyard-lock r1 boot-1 6000 600 7\n{"run": "r1"}\nend\n',
}


@pytest.mark.parametrize("kind", TORN)
def test_a_record_that_cannot_be_read_is_held_until_it_is_broken(keeper: KeeperHere, kind: str) -> None:
    assert keeper("take", "r1").code == 0
    (keeper.disk / "lock/record").write_text(TORN[kind])
    for run in ("r1", "r2"):
        said = keeper("take", run)
        assert said.code == HELD
        [lock] = kept_locks("k", said.lines)
        assert (lock.state, lock.is_older, lock.owner) == (LockState.TORN, False, None)
    assert keeper("renew", "r1").code in STEPS, "it may be this run's: nobody says that it is lost"
    assert len(keeper("break", "-").lines) == 1
    assert keeper("take", "r2").code == 0


@pytest.mark.parametrize(
    "what", ["an empty folder", "a file", "a link to nothing", "no end", "no owner", "half an owner"]
)
def test_what_else_lies_there_is_held(keeper: KeeperHere, what: str) -> None:
    keeper("show", "-")
    lock = keeper.disk / "lock"
    if what == "a file":
        lock.write_text("")
    elif what == "a link to nothing":
        lock.symlink_to("nothing")
    else:
        lock.mkdir()
        if what != "an empty folder":
            (lock / "until").write_text("" if what == "no end" else str(keeper.wall + 60))
        if what == "half an owner":
            (lock / "owner").write_text('{"run": "r0", "wh')
    said = keeper("take", "r1")
    assert said.code == HELD
    [kept] = kept_locks("k", said.lines)
    assert (kept.owner, kept.is_in_the_way) == (None, True)
    assert keeper("break", "-").code == 0
    assert keeper("take", "r1").code == 0


# (e) No wall clock decides, and no reboot frees


@pytest.mark.parametrize("step", [600, 86400, -86400])
def test_a_clock_that_is_set_ends_no_lock_and_prolongs_none(keeper: KeeperHere, step: int) -> None:
    assert keeper("take", "r1").code == 0
    keeper.wall += step
    assert keeper("take", "r2").code == HELD
    keeper.set("boot-1", 5601, 5601)
    assert keeper("take", "r2").code == 0


def test_a_lock_of_an_earlier_boot_holds_for_its_whole_time_from_this_one_on(keeper: KeeperHere) -> None:
    assert keeper("take", "r1").code == 0
    keeper.set("boot-2", 0, 0)
    assert keeper("take", "r2").code == HELD
    keeper.set("boot-2", 599, 599)
    assert keeper("take", "r2").code == HELD
    assert keeper("renew", "r1").code == 0, "its run lives: it goes on"
    keeper.set("boot-3", 600, 600)
    assert keeper("renew", "r1").code == LOST
    assert keeper("take", "r2").code == 0


def test_a_container_that_was_started_anew_frees_no_lock(keeper: KeeperHere) -> None:
    """Its uptime is that of the machine below it; its first process is as old as itself."""
    assert keeper("take", "r1").code == 0
    keeper.set("boot-2", 9000, 5)
    assert keeper("take", "r2").code == HELD


# Controllers of before


def test_a_lock_of_an_older_controller_is_respected_and_told(keeper: KeeperHere) -> None:
    assert keeper.older("take", "old").code == 0
    said = keeper("take", "r1", "lock.a")
    [lock] = kept_locks("k", said.lines)
    assert (said.code, lock.is_older, lock.left_s) == (HELD, True, 600)
    assert lock.owner is not None
    assert (lock.owner.run, lock.owner.host, lock.owner.machine) == ("old", "older", "m")
    keeper.wall += 601
    assert keeper("take", "r1").code == 0
    assert keeper.older("renew", "old").code == LOST


def test_an_older_controller_is_kept_out_for_as_long_as_a_lock_is_renewed(keeper: KeeperHere) -> None:
    for name, older in (("lock", "lock"), ("lock", "lock.a"), ("lock.a", "lock.a"), ("lock.a", "lock")):
        assert keeper("take", "r1", name).code == 0
        for _ in range(4):
            said = keeper.older("take", "old", older)
            assert (said.code, json.loads(said.lines[0])["run"]) == (HELD, "r1")
            keeper.wall += 150
            up = int((keeper.proc / "uptime").read_text().split(".")[0]) + 150
            keeper.set("boot-1", up, up)
            assert keeper("renew", "r1", name).code == 0
        keeper.wall += 3000
        assert keeper.older("take", "old", older).code == HELD, "a clock that was set lets it in no sooner"
        assert keeper("release", "r1", name).code == 0
        assert keeper.older("take", "old", older).code == 0
        assert keeper.older("release", "old", older).code == 0


def test_an_older_controller_takes_no_owner_for_its_own_machines(keeper: KeeperHere) -> None:
    """It compares host names, and takes over where no process has the number: in a container of the same name none
    has.
    """
    assert keeper("take", "r1").code == 0
    shown = json.loads(keeper.older("show", "-").lines[0])
    assert shown["host"] == "ops."
    assert {"run", "who", "host", "pid", "boot", "begun", "since", "doing"} <= shown.keys(), "it reads these"


def test_an_older_controller_breaks_a_lock_and_its_run_notices(keeper: KeeperHere) -> None:
    assert keeper("take", "r1").code == 0
    assert keeper.older("break", "-").code == 0
    assert keeper("renew", "r1").code == LOST
    assert keeper.folders() == {}
