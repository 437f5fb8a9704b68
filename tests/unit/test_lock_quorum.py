"""Who keeps the lock, how many have to agree, and until when a run may believe that it holds it."""

from __future__ import annotations

from itertools import combinations

import pytest

from steelyard.engine.lock import FleetLock
from steelyard.engine.lock_members import keepers_of, majority
from steelyard.engine.lock_quorum import KeeperAnswer, Lease, held_locks, refusal
from steelyard.engine.lock_script import KeptLock, LockState, kept_locks, request_of
from steelyard.engine.run_owner import RunOwner
from steelyard.errors import FleetLocked, KeepersSilent, LockLapsed, LockLost, LockUnreadable

OWNER = RunOwner("r1", "anna", "ops", 7, "b", "s", "2026-01-31T23:59:59Z", "apply site", "m", "ns")


def kept(keeper: str, owner: RunOwner | None = OWNER, left: int = 60, is_older: bool = False) -> KeptLock:
    state = LockState.HELD if owner is not None else LockState.TORN
    return KeptLock(keeper, "lock", state, is_older, left, 1_700_000_000, owner)


@pytest.mark.parametrize(("hosts", "keepers"), [(1, 1), (2, 1), (3, 3), (4, 3), (5, 5), (6, 5), (400, 5)])
def test_the_first_one_three_or_five_hosts_keep_the_lock(hosts: int, keepers: int) -> None:
    names = [f"h{number}" for number in range(hosts)]
    assert keepers_of(names) == tuple(names[:keepers])


@pytest.mark.parametrize("keepers", [1, 2, 3, 4, 5])
def test_two_majorities_have_a_keeper_in_common(keepers: int) -> None:
    every = [set(chosen) for chosen in combinations(range(keepers), majority(keepers))]
    assert all(one & other for one in every for other in every)


def test_a_dead_host_that_is_taken_out_leaves_majorities_that_meet() -> None:
    """`host remove --dead` locks the fleet without the host, others lock it with it: the dead one answers nobody."""
    for count in range(3, 9):
        names = [f"h{number}" for number in range(count)]
        for dead in names:
            mine, theirs = keepers_of([name for name in names if name != dead]), keepers_of(names)
            living = [name for name in theirs if name != dead]
            for one in combinations(mine, majority(len(mine))):
                assert all(set(one) & set(other) for other in combinations(living, majority(len(theirs))))


def test_a_majority_has_it_whatever_the_others_say() -> None:
    granted = [KeeperAnswer("a"), KeeperAnswer("b")]
    assert refusal([*granted, KeeperAnswer("c", silent="no route")], "site") is None
    assert refusal([*granted, KeeperAnswer("c", (kept("c"),))], "site") is None
    assert refusal([*granted, KeeperAnswer("c", (kept("c", None),))], "site") is None


def test_a_refusal_says_who_holds_it() -> None:
    other = RunOwner("r2", "bert", "ops-2", 8, "b", "s", "2026-01-31T23:59:59Z", "rollout x", "m", "ns")
    answers = [
        KeeperAnswer("a", silent="no route"),
        KeeperAnswer("b", (kept("b", other),)),
        KeeperAnswer("c", (kept("c"),)),
        KeeperAnswer("d", (kept("d"),)),
        KeeperAnswer("e"),
    ]
    error = refusal(answers, "site")
    assert isinstance(error, FleetLocked)
    assert (error.who, error.where, error.until) == ("anna", "c", "2023-11-14T22:14:20Z"), "of two who has more keepers"


def test_a_refusal_says_which_keepers_are_silent() -> None:
    answers = [KeeperAnswer("a", silent="no route"), KeeperAnswer("b"), KeeperAnswer("c", silent="no room")]
    error = refusal(answers, "site")
    assert isinstance(error, KeepersSilent)
    assert str(error) == "a: the fleet's lock needs 2 of its 3 keepers, and a, c gave no answer: no route"
    assert isinstance(refusal([KeeperAnswer("a", silent="no route")], "site"), KeepersSilent)


def test_what_cannot_be_read_is_told_as_that() -> None:
    error = refusal([KeeperAnswer("a", (kept("a", None),))], "site")
    assert isinstance(error, LockUnreadable)
    assert error.keepers == "a"


def test_a_lock_of_an_older_controller_is_in_the_way_on_any_keeper() -> None:
    answers = [KeeperAnswer("a"), KeeperAnswer("b"), KeeperAnswer("c", (kept("c", is_older=True),))]
    assert isinstance(refusal(answers, "site"), FleetLocked)
    answers[2] = KeeperAnswer("c", (kept("c", None, is_older=True),))
    assert isinstance(refusal(answers, "site"), LockUnreadable)


def test_a_lease_is_as_long_as_a_majority_has_granted_it_from_the_asking_on() -> None:
    lease = Lease(3, 600)
    assert isinstance(lease.ended(0), LockLapsed)
    lease.granted("a", 100)
    assert lease.until == 0, "one of three"
    lease.granted("b", 130)
    assert lease.until == 640
    lease.granted("c", 400)
    assert lease.until == 670
    assert lease.ended(669) is None
    lapsed = lease.ended(670)
    assert isinstance(lapsed, LockLapsed)
    assert lapsed.where == "a, b"
    lease.granted("a", 50)
    assert lease.until == 670, "a late answer to an early request"


def test_a_keeper_that_took_it_away_does_not_give_it_back() -> None:
    lease = Lease(3, 600)
    for keeper in ("a", "b", "c"):
        lease.granted(keeper, 0)
    lease.taken_away("a")
    assert lease.ended(1) is None
    lease.taken_away("b")
    lost = lease.ended(1)
    assert isinstance(lost, LockLost)
    assert lost.where == "a, b"
    lease.granted("a", 2)
    assert isinstance(lease.ended(3), LockLost)
    single = Lease(1, 600)
    single.taken_away("a")
    assert isinstance(single.ended(1), LockLapsed), "it never had it"


def test_locks_of_several_keepers_are_one_lock() -> None:
    one, two = held_locks([kept("a", left=10), kept("b", left=70), kept("c", None)])
    assert (one.keepers, one.left_s, one.until) == (("a", "b"), 70, "2023-11-14T22:14:30Z")
    assert two.as_json() == {
        "keeper": "c",
        "keepers": ["c"],
        "until": "",
        "unreadable": True,
        "older": False,
        **dict.fromkeys(OWNER.as_json()),
    }
    assert one.as_json() == {
        "keeper": "a",
        "keepers": ["a", "b"],
        "until": "2023-11-14T22:14:30Z",
        "unreadable": False,
        "older": False,
        **OWNER.as_json(),
    }


def test_a_line_that_no_keeper_writes_is_a_lock_that_nobody_can_read() -> None:
    for line in ("nonsense", "lock\theld\trecord\tsoon\t1\t{}", "lock\tfree\trecord\t1\t1\t{}"):
        [lock] = kept_locks("a", [line])
        assert (lock.state, lock.owner, lock.is_in_the_way) == (LockState.TORN, None, True)
    for stored in (
        "",
        "[]",
        "{}",
        "[" * 100_000,
        '{"run": 1',
        request_of(OWNER).splitlines()[0].replace("7", '"x"', 1),
    ):
        [lock] = kept_locks("a", [f"lock\theld\trecord\t60\t1700000000\t{stored}"])
        assert (lock.owner, lock.is_in_the_way) == (None, True)


def test_an_end_that_is_no_time_is_left_out() -> None:
    [lock] = held_locks([kept("a", left=10**20)])
    assert (lock.until, lock.owner) == ("", OWNER)


class _Keepers:
    names = ("a",)


def test_an_alias_with_a_slash_is_one_folder() -> None:
    assert FleetLock(_Keepers(), "inventory", alias="org/model").name == "lock.org_model"  # type: ignore[arg-type]
