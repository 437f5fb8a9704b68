"""Whether a run holds a lock, and until when: decided from what keepers said, and from nothing else.

A run holds a lock where a majority of its keepers has granted it, and by its own clock no longer than the first
seconds in which that majority could grant it to somebody else. It counts from the moment at which it asked, so that an
answer that took long is no gain, and leaves the last tenth unused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from steelyard.engine.run_owner import RunOwner
from steelyard.errors import FleetLocked, KeepersSilent, LockLapsed, LockLost, LockUnreadable, SteelyardError

from .lock_members import majority
from .lock_script import KeptLock, LockState

UNUSED = 0.1  # of a lock's time: clocks differ, and what is begun takes a moment to begin


@dataclass(frozen=True)
class KeeperAnswer:
    """A keeper's answer to `take`: granted, or the locks that are in the way, or `silent`: why it said neither."""

    keeper: str
    locks: tuple[KeptLock, ...] = ()
    silent: str = ""

    @property
    def granted(self) -> bool:
        """Whether this keeper has given the lock."""
        return not self.locks and not self.silent


@dataclass(frozen=True)
class HeldLock:
    """One lock, as all keepers that have it say; `owner` is None where none of them can read it.

    `left_s` is the most that is left of it, by a keeper's own clock; below 0: it has ended. `until`: the same for
    people, by the keeper's wall clock; empty where the end cannot be read either.
    """

    name: str
    keepers: tuple[str, ...]
    owner: RunOwner | None
    until: str
    left_s: int
    is_older: bool = False

    def as_json(self) -> dict[str, object]:
        """Return the fields as `lock show --json` has them; of an owner that cannot be read every field is null."""
        nobody: dict[str, object] = dict.fromkeys(RunOwner.json_keys())
        return {
            "keeper": self.keepers[0],
            "keepers": list(self.keepers),
            "until": self.until,
            "unreadable": self.owner is None,
            "older": self.is_older,
            **(self.owner.as_json() if self.owner is not None else nobody),
        }


def refusal(answers: Sequence[KeeperAnswer], inventory: str) -> SteelyardError | None:
    """Return why a run does not hold the lock after these answers, one of each keeper; None where it does.

    A lock of a controller of before is in the way on whatever keeper it lies: it asked no majority.
    """
    before = [lock for answer in answers for lock in answer.locks if lock.is_older]
    if not before and sum(answer.granted for answer in answers) >= majority(len(answers)):
        return None
    locks = held_locks(before or [lock for answer in answers for lock in answer.locks])
    owned = [lock for lock in locks if lock.owner is not None]
    if owned:
        return _locked(max(owned, key=lambda lock: len(lock.keepers)), inventory)
    if locks:
        names = tuple(dict.fromkeys(name for lock in locks for name in lock.keepers))
        return LockUnreadable(where=names[0], keepers=", ".join(names), inventory=inventory)
    silent = [answer for answer in answers if answer.silent]
    return KeepersSilent(
        where=silent[0].keeper,
        silent=", ".join(answer.keeper for answer in silent),
        total=str(len(answers)),
        needed=str(majority(len(answers))),
        why=silent[0].silent,
    )


def _locked(lock: HeldLock, inventory: str) -> FleetLocked:
    owner = lock.owner
    assert owner is not None
    return FleetLocked(
        where=lock.keepers[0],
        who=owner.user,
        origin=f"{owner.host} (pid {owner.pid})",
        since=owner.since,
        doing=owner.command,
        until=lock.until,
        inventory=inventory,
    )


def held_locks(kept: Sequence[KeptLock]) -> list[HeldLock]:
    """Return what single keepers have as the locks that they are, in the order in which they were told."""
    groups: dict[tuple[str, str], list[KeptLock]] = {}
    for lock in kept:
        groups.setdefault((lock.name, lock.owner.run if lock.owner is not None else ""), []).append(lock)
    return [_together(group) for group in groups.values()]


def _together(group: Sequence[KeptLock]) -> HeldLock:
    longest = max(group, key=lambda lock: lock.left_s)
    until = "" if longest.state is LockState.TORN else _moment(longest.at + longest.left_s)
    keepers = tuple(dict.fromkeys(lock.keeper for lock in group))
    is_older = any(lock.is_older for lock in group)
    return HeldLock(longest.name, keepers, longest.owner, until, longest.left_s, is_older)


def _moment(seconds: int) -> str:
    """A second of the wall clock as people read it; empty where there is no such time."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return ""


class Lease:
    """The time of a run's own lock: until when each keeper has granted it, by this machine's clock since boot."""

    def __init__(self, keepers: int, ttl_s: float) -> None:
        self.keepers, self.ttl_s = keepers, ttl_s
        self._until: dict[str, float] = {}
        self._taken: set[str] = set()

    def granted(self, keeper: str, asked_at: float) -> None:
        """Note that a keeper granted or renewed what it was asked for at `asked_at`."""
        if keeper not in self._taken:
            self._until[keeper] = max(self._until.get(keeper, 0), asked_at + self.ttl_s * (1 - UNUSED))

    def taken_away(self, keeper: str) -> None:
        """Note that a keeper has the lock no more for this run; it never gets it back."""
        if keeper in self._until:
            self._taken.add(keeper)
            del self._until[keeper]

    @property
    def until(self) -> float:
        """The moment from which this run must not believe to hold the lock; 0 where it never did."""
        ends = sorted(self._until.values(), reverse=True)
        needed = majority(self.keepers)
        return ends[needed - 1] if len(ends) >= needed else 0

    def ended(self, at: float) -> SteelyardError | None:
        """Return why the lock is not held at this moment; None where it is."""
        if at < self.until:
            return None
        if self._taken:
            return LockLost(where=", ".join(sorted(self._taken)))
        silent = sorted(keeper for keeper, until in self._until.items() if until <= at)
        return LockLapsed(where=", ".join(silent) or "the lock's keepers", seconds=f"{self.ttl_s * (1 - UNUSED):.0f}")
