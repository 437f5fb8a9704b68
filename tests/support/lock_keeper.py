"""A keeper of locks that never was: the steps of `lock_script.SCRIPT`, one by one, on a disk of values.

`test_lock_schedules.py` holds it to the script itself: same commands in the same order, same exit codes, same disk.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

HELD, LOST = 75, 76
Steps = Generator[str, bool, tuple[int, list[str]]]  # yields a command; is sent whether it could be done


class Record(NamedTuple):
    """What the file `record` says; `end` is a second of the uptime of `boot`."""

    run: str
    boot: str
    end: int
    ttl: int
    owner: str


@dataclass(frozen=True)
class Folder:
    """A lock on the disk. `torn`: a record is there that cannot be read."""

    record: Record | None = None
    torn: bool = False
    owner: str | None = None
    until: int | None = None


class Seen(NamedTuple):
    """What the script makes of a folder."""

    state: str  # free, held, ended, torn
    form: str = "record"
    by: str = ""
    left: int = 0
    owner: str = ""


@dataclass(frozen=True)
class Broken:
    """Ways in which a lock could be wrong, each of which the schedules have to find."""

    reboot_frees: bool = False
    torn_is_free: bool = False
    renews_what_ended: bool = False
    ignores_failures: bool = False
    wall_clock: bool = False
    forgets_to_sync: bool = False


SOUND = Broken()


@dataclass
class Keeper:
    """One keeper. `durable` is what a cut of its power leaves."""

    name: str
    boot: str = "boot-1"
    up: int = 5000
    age: int = 5000
    wall: int = 1_700_000_000
    broken: Broken = SOUND
    places: dict[str, Folder] = field(default_factory=dict)
    durable: dict[str, Folder] = field(default_factory=dict)
    mutex: object = None

    def look(self, name: str, boot: str, up: int, age: int, wall: int) -> Seen:
        folder = self.places.get(name)
        if folder is None:
            return Seen("free")
        if folder.torn:
            return Seen("free" if self.broken.torn_is_free else "torn")
        if folder.record is not None:
            record = folder.record
            same = record.boot == boot
            left = record.end - up if same else 0 if self.broken.reboot_frees else record.ttl - age
            if self.broken.wall_clock:
                left = (folder.until or 0) - 3600 + record.ttl - wall
            return Seen("held" if left > 0 else "ended", "record", record.run, left, record.owner)
        if folder.until is None:
            return Seen("torn", "before", owner=folder.owner or "")
        left = folder.until - wall
        return Seen("held" if left > 0 else "ended", "before", "", left, folder.owner or "")


class Script:
    """The script with these arguments. Whoever drives its `steps` calls `end` when they end, by themselves or not."""

    def __init__(self, keeper: Keeper, verb: str, run: str, ttl: int, name: str, stdin: str) -> None:
        self.keeper, self.verb, self.run, self.ttl, self.name = keeper, verb, run, ttl, name
        self.owner, self.shown = [*stdin.splitlines(), "", ""][:2]
        self.lines: list[str] = []

    def end(self) -> None:
        """Its process is gone, and its mutex free."""
        if self.keeper.mutex is self:
            self.keeper.mutex = None

    def steps(self) -> Steps:
        return (yield from self._steps()), self.lines

    def _do(self, command: str) -> Generator[str, bool, bool]:
        done = yield command
        return done or self.keeper.broken.ignores_failures

    def _steps(self) -> Generator[str, bool, int]:
        keeper, name = self.keeper, self.name
        if not (yield from self._do("mkdir")):
            return 81
        while True:
            if not (yield from self._do("flock")):
                return 83
            if keeper.mutex is None:
                break
        keeper.mutex = self
        self.boot, self.up, self.age = keeper.boot, keeper.up, keeper.age
        if not (yield from self._do("date")):
            return 84
        self.wall = keeper.wall
        if not (yield from self._do("rm")):
            return 87
        aliases = sorted(other for other in keeper.places if other.startswith("lock."))
        rivals = ["lock", *aliases] if name == "lock" else ["lock", name]
        if self.verb == "take":
            return (yield from self._take(rivals))
        if self.verb == "renew":
            seen = self._look(name)
            if seen.by == self.run and (seen.state == "held" or keeper.broken.renews_what_ended):
                return (yield from self._extended(seen))
            return 89 if seen.state == "torn" else LOST
        for rival in rivals if self.verb != "break" or name == "lock" else [name]:
            seen = self._look(rival)
            if self.verb == "release" and seen.by == self.run and not (yield from self._away(rival)):
                return 87
            if self.verb in ("show", "break") and seen.state != "free":
                self._say(rival, seen)
            if self.verb == "break" and seen.state != "free" and not (yield from self._away(rival)):
                return 87
        return 0

    def _look(self, name: str) -> Seen:
        return self.keeper.look(name, self.boot, self.up, self.age, self.wall)

    def _say(self, name: str, seen: Seen) -> None:
        self.lines.append(f"{name}\t{seen.state}\t{seen.form}\t{seen.left}\t{self.wall}\t{seen.owner}")

    def _take(self, rivals: list[str]) -> Generator[str, bool, int]:
        keeper = self.keeper
        for rival in rivals:
            seen = self._look(rival)
            if seen.state in ("held", "torn") and seen.by != self.run:
                self._say(rival, seen)
        if self.lines:
            return HELD
        seen = self._look(self.name)
        if seen.by == self.run:
            return (yield from self._extended(seen))
        record = self._record(self.owner)
        if not (yield from self._do("mkdir")) or not (yield from self._do("cat")) or not (yield from self._do("sync")):
            return 85
        for step in ("cat", "cat", "sync"):
            if not (yield from self._do(step)):
                return 86
        if seen.state != "free" and not (yield from self._away(self.name)):
            return 87
        if not (yield "mv"):
            return 0 if keeper.broken.ignores_failures else 88
        keeper.places[self.name] = Folder(record, False, self.shown, self.wall + 3600)
        return 0 if (yield from self._synced(self.name)) else 88

    def _record(self, owner: str) -> Record:
        return Record(self.run, self.boot, self.up + self.ttl + 1, self.ttl, owner)

    def _extended(self, seen: Seen) -> Generator[str, bool, int]:
        places, name = self.keeper.places, self.name
        for step in ("cat", "sync"):
            if not (yield from self._do(step)):
                return 85
        if not (yield from self._do("mv")):
            return 85
        places[name] = replace(places[name], record=self._record(seen.owner))
        if not (yield from self._synced(name)):
            return 85
        for step in ("cat", "sync", "mv"):
            if not (yield from self._do(step)):
                return 86
        places[name] = replace(places[name], until=self.wall + 3600)
        return 0

    def _away(self, name: str) -> Generator[str, bool, bool]:
        if not (yield from self._do("mv")):
            return False
        self.keeper.places.pop(name)
        if not (yield from self._synced(name)):
            return False
        return (yield from self._do("rm"))

    def _synced(self, name: str) -> Generator[str, bool, bool]:
        if self.keeper.broken.forgets_to_sync:
            return True
        done = yield from self._do("sync")
        if done:
            durable, places = self.keeper.durable, self.keeper.places
            durable.pop(name, None)
            if name in places:
                durable[name] = places[name]
        return done
