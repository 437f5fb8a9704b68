"""The fleet's lock over several keepers: a majority or a refusal, and what becomes of it. Real shells, real scripts."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import gevent
import gevent.event
import pytest
from support.lock_hosts import KeeperHost, lock_over

from steelyard.engine.lock import FleetLock, held_lock
from steelyard.engine.run_owner import RunOwner, process_start
from steelyard.errors import (
    FleetLocked,
    HostUnreachable,
    KeepersSilent,
    LockLapsed,
    LockLost,
    LockUnreadable,
)

THREE = ("h1", "h2", "h3")


@pytest.fixture(autouse=True)
def everybody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KeeperHost, "silent", set())
    monkeypatch.setattr(KeeperHost, "requests", [])


@contextmanager
def connected(folder: Path, names: tuple[str, ...] = THREE, alias: str | None = None) -> Iterator[FleetLock]:
    with lock_over(folder, names, alias=alias) as lock:
        lock.connect()
        yield lock


def elsewhere() -> RunOwner:
    """The owner of a run of another machine."""
    return replace(RunOwner.here("apply site"), host="elsewhere", machine="another")


def there(folder: Path) -> list[str]:
    """The keepers that have a lock."""
    return sorted(path.parent.name for path in folder.glob("*/lock*"))


def records(folder: Path) -> set[str]:
    """The runs that hold something."""
    return {path.read_text().split()[1] for path in folder.glob("*/lock*/record")}


def tear(folder: Path, name: str) -> None:
    (folder / name / "lock/record").write_text("steelyard-lock torn")


def test_every_keeper_has_it_and_is_asked_once(tmp_path: Path) -> None:
    owner = elsewhere()
    with connected(tmp_path) as lock:
        lock.take(owner)
        assert there(tmp_path) == ["h1", "h2", "h3"]
        assert sorted(KeeperHost.requests) == [("h1", "take"), ("h2", "take"), ("h3", "take")]
        assert lock.ended() is None
        [held] = lock.show()
        assert (held.keepers, held.owner, held.left_s > 590) == (THREE, owner, True)
        lock.release(owner)
        assert (there(tmp_path), lock.show()) == ([], [])


def test_a_site_of_two_hosts_has_one_keeper_one_connection_and_one_request(tmp_path: Path) -> None:
    with connected(tmp_path, ("h1",)) as lock:
        lock.take(elsewhere())
        assert KeeperHost.requests == [("h1", "take")]
        assert [host.traffic.connections for host in lock.session.plan().hosts if host.traffic] == [1]


def test_a_refusal_leaves_nothing_of_its_own(tmp_path: Path) -> None:
    holder, late = elsewhere(), elsewhere()
    with connected(tmp_path) as first, connected(tmp_path) as second:
        KeeperHost.silent.add("h3")
        first.take(holder)
        KeeperHost.silent.clear()
        with pytest.raises(FleetLocked) as refused:
            second.take(late)
        assert refused.value.origin == f"elsewhere (pid {holder.pid})"
        assert records(tmp_path) == {holder.run}
        assert there(tmp_path) == ["h1", "h2"]
        first.release(holder)
        second.take(late)
        assert there(tmp_path) == ["h1", "h2", "h3"]


def test_while_the_first_keeper_is_silent_nobody_else_gets_it(tmp_path: Path) -> None:
    """A keeper that reboots: the lock that it has is held, whoever asks the others."""
    with connected(tmp_path) as first:
        first.take(elsewhere())
        KeeperHost.silent.add("h1")
        with connected(tmp_path) as second:
            assert list(second.silent) == ["h1"]
            with pytest.raises(FleetLocked):
                second.take(elsewhere())
    KeeperHost.silent.clear()
    with connected(tmp_path, ("h1",)) as first:
        first.force_unlock()
        first.take(elsewhere())
        KeeperHost.silent.add("h1")
        with lock_over(tmp_path, ("h1",)) as second, pytest.raises(HostUnreachable):
            second.connect()


def test_without_a_majority_nothing_is_held_and_the_silent_ones_are_named(tmp_path: Path) -> None:
    KeeperHost.silent |= {"h1", "h3"}
    with connected(tmp_path) as lock, pytest.raises(KeepersSilent) as refused:
        lock.take(elsewhere())
    assert (refused.value.silent, refused.value.needed, refused.value.total) == ("h1, h3", "2", "3")
    assert "no route to host" in str(refused.value)
    assert there(tmp_path) == []
    KeeperHost.silent.clear()  # what its fix asks for
    with connected(tmp_path) as lock:
        lock.take(elsewhere())


def test_a_keeper_that_cannot_write_has_no_say_and_says_why(tmp_path: Path) -> None:
    (tmp_path / "h1").write_text("not a folder")
    with connected(tmp_path) as lock:
        lock.take(elsewhere())
    with connected(tmp_path, ("h1",)) as lock, pytest.raises(KeepersSilent, match="its folder of locks cannot be made"):
        lock.take(elsewhere())


def test_a_lock_without_a_readable_owner_is_held(tmp_path: Path) -> None:
    with connected(tmp_path, ("h1",)) as lock:
        lock.take(elsewhere())
        tear(tmp_path, "h1")
        with pytest.raises(LockUnreadable):
            lock.take(elsewhere())
        [held] = lock.show()
        assert (held.owner, held.keepers) == (None, ("h1",))
        assert len(lock.force_unlock()) == 1  # its fix
        lock.take(elsewhere())


def test_one_torn_record_of_three_is_in_nobodys_way(tmp_path: Path) -> None:
    owner = elsewhere()
    with connected(tmp_path) as lock:
        lock.take(owner)
        lock.release(owner)
        (tmp_path / "h2/lock").mkdir()
        tear(tmp_path, "h2")
        lock.take(elsewhere())
        assert len(records(tmp_path) - {"torn"}) == 1


def test_rollouts_of_two_aliases_hold_side_by_side_and_an_apply_does_not(tmp_path: Path) -> None:
    one, two = elsewhere(), elsewhere()
    with connected(tmp_path, alias="a") as first, connected(tmp_path, alias="b") as second:
        first.take(one)
        second.take(two)
        with connected(tmp_path) as apply:
            with pytest.raises(FleetLocked):
                apply.take(elsewhere())
            assert [held.name for held in apply.show()] == ["lock.a", "lock.b"]
            first.release(one)
            second.release(two)
            apply.take(elsewhere())


# Whose it was


def test_a_run_of_this_very_place_whose_process_is_gone_is_taken_over(tmp_path: Path) -> None:
    process = subprocess.Popen(["sleep", "60"])
    here = replace(RunOwner.here("apply"), pid=process.pid, process_start=process_start(process.pid) or "")
    with connected(tmp_path) as lock:
        lock.take(here)
        with pytest.raises(FleetLocked):
            lock.take(elsewhere())
        process.kill()
        process.wait()
        mine = elsewhere()
        lock.take(mine)
        assert records(tmp_path) == {mine.run}


@pytest.mark.parametrize("other", ["machine", "boot", "pid_namespace"])
def test_a_run_of_the_same_host_name_elsewhere_is_not(tmp_path: Path, other: str) -> None:
    gone = replace(RunOwner.here("apply"), process_start="1", **{other: "another"})
    with connected(tmp_path) as lock:
        lock.take(gone)
        with pytest.raises(FleetLocked):
            lock.take(RunOwner.here("apply"))
        assert records(tmp_path) == {gone.run}


# Held over time


def test_a_lock_that_was_given_too_late_is_given_back(tmp_path: Path) -> None:
    with lock_over(tmp_path, THREE, ttl_s=0) as lock:
        lock.connect()
        with pytest.raises(LockLapsed):
            lock.take(elsewhere())
    assert there(tmp_path) == []


def test_a_run_notices_that_a_majority_of_its_lock_was_taken_away(tmp_path: Path) -> None:
    lost = gevent.event.AsyncResult()
    with lock_over(tmp_path, THREE, ttl_s=4) as lock, held_lock(lock, elsewhere(), lost.set):
        with connected(tmp_path) as other:
            assert len(other.force_unlock()) == 1
        assert isinstance(lost.get(timeout=60), LockLost)


def test_a_run_whose_keepers_are_silent_stops_before_anybody_else_can_have_it(tmp_path: Path) -> None:
    owner, lapsed = elsewhere(), gevent.event.AsyncResult()
    with lock_over(tmp_path, THREE, ttl_s=4) as lock, held_lock(lock, owner, lapsed.set):
        KeeperHost.silent |= {"h2", "h3"}
        error = lapsed.get(timeout=60)
        assert isinstance(error, LockLapsed)
        assert error.where == "h2, h3"
        KeeperHost.silent.clear()  # its fix: they answer again
    with connected(tmp_path) as other:
        other.take(elsewhere())


def test_a_lock_is_renewed_on_every_keeper_while_one_is_silent(tmp_path: Path) -> None:
    with (
        lock_over(tmp_path, THREE, ttl_s=4) as lock,
        held_lock(lock, elsewhere(), lambda error: pytest.fail(str(error))),
    ):
        KeeperHost.silent.add("h2")
        while [verb for name, verb in KeeperHost.requests if name == "h3"].count("renew") < 5:
            gevent.sleep(0.1)
        assert lock.ended() is None


def test_a_lost_connection_is_made_anew_for_a_renewal(tmp_path: Path) -> None:
    owner = elsewhere()
    with connected(tmp_path, ("h1",)) as lock:
        lock.take(owner)
        KeeperHost.channels[-1]._mine.close()
        lock.renew(owner)
        assert [host.traffic.connections for host in lock.session.plan().hosts if host.traffic] == [2]
        assert lock.ended() is None
        assert [held.owner for held in lock.show()] == [owner]


def test_a_wall_clock_that_is_set_ends_no_lock(tmp_path: Path) -> None:
    """What old controllers look at is an hour from now, and what this one looks at is no wall clock."""
    with connected(tmp_path, ("h1",)) as lock:
        lock.take(elsewhere())
        (tmp_path / "h1/lock/until").write_text("1\n")  # as if the clock were 600 s, or decades, ahead
        with pytest.raises(FleetLocked):
            lock.take(elsewhere())


def test_a_lock_of_an_older_controller_on_one_keeper_keeps_out(tmp_path: Path) -> None:
    older = {**elsewhere().as_json(), "who": "bert"}
    del older["machine"], older["pid_namespace"]
    folder = tmp_path / "h2/lock"
    folder.mkdir(parents=True)
    (folder / "owner").write_text(json.dumps(older))
    (folder / "until").write_text("4102444800\n")
    with connected(tmp_path) as lock:
        with pytest.raises(FleetLocked) as refused:
            lock.take(elsewhere())
        assert (refused.value.who, refused.value.where) == ("bert", "h2")
        [held] = lock.show()
        assert (held.is_older, held.keepers) == (True, ("h2",))
        assert there(tmp_path) == ["h2"]


def test_a_keeper_that_fails_at_showing_is_told_and_the_others_answer(tmp_path: Path) -> None:
    (tmp_path / "h1").write_text("not a folder")
    with connected(tmp_path) as lock:
        assert lock.show() == []
        assert list(lock.silent) == ["h1"]
