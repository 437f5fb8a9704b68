"""The present activity, as lines: for a terminal again and again, elsewhere now and then. Pure: the caller says when.

It is fed with the run's events, in whatever order hosts send them. It is silent on what takes less than ten seconds,
and never says more than a few lines a minute; a run over several hosts has a table on a terminal, and a line for each
host that is done elsewhere.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice

from steelyard.api.outcome import outcome_of
from steelyard.errors.visible import joined_line
from steelyard.events import (
    BytesMoved,
    Event,
    HostAt,
    HostEnded,
    HostFailed,
    RunStarted,
    TaskEnded,
    TaskProgress,
    TaskStarted,
)
from steelyard.progress.tally import Tally

from .fleet_progress import AtWork, FleetProgress, at_work_lines
from .progress import Streams, lasting
from .text import hosts_named, plural
from .width import columns, cut

MARKS_S = (10.0, 20.0, 40.0)  # of a thing that goes on: when it is told of, where there is no terminal
THEN_S = 60.0
MOST_A_MINUTE = 4
SHOWN = 3  # things that go on at once and get lines of their own on a terminal, of a single host
OF_A_FLEET = 8  # lines below the figures of several hosts


@dataclass
class Thing:
    """A task, or a stream without a task, on the hosts that are at it; `times_told` is how often it was told of."""

    title: str
    since: float
    hosts: dict[str, float] = field(default_factory=dict)  # the one that has been at it longest comes first
    times_told: int = 0

    def mark(self) -> float:
        """The time at which it is told of next."""
        late = self.times_told - len(MARKS_S)
        return self.since + (MARKS_S[self.times_told] if late < 0 else MARKS_S[-1] + (late + 1) * THEN_S)


class Activity:
    """`take` an event; `lines` for a terminal; `ended` and `due` where there is none. `clean` makes a part of a line of
    what hosts and roles say, before it is cut.
    """

    def __init__(self, clean: Callable[[str], str] = joined_line) -> None:
        self._clean = clean
        self._began: float | None = None
        self._things: dict[str, Thing] = {}
        self._at: dict[str, str] = {}  # host -> title of its task
        self._steps: dict[str, str] = {}  # host -> what it is at without a task
        self._streams = Streams()
        self._fleet: FleetProgress | None = None
        self._passing = False
        self._failed = set[str]()
        self._told: deque[float] = deque()

    @property
    def busy(self) -> bool:
        return bool(self._things)

    def take(self, event: Event, now: float) -> None:
        self._began = now if self._began is None else self._began
        match event:
            case RunStarted(hosts, work, passing):
                self._fleet = FleetProgress(work, Tally(hosts, now)) if hosts > 1 else None
                self._passing = passing
            case HostAt(host, step):
                self._step(host, step, now)
            case TaskStarted(host, title):
                self._at[host] = title
                self._begin(title, host, now)
            case TaskEnded(host, title):
                self._at.pop(host, None)
                self._streams.forget(host)
                self._end(title, host)
            case TaskProgress(host, ""):
                self._streams.forget(host)
            case TaskProgress(host, what, done, total, unit):
                self._streams.moved(host, what, done, total, now, unit)
            case BytesMoved(host, what, done, total):
                self._moved(host, what, done, total, now)
            case HostEnded(host, outcome):
                self._step(host, "", now)
                if self._fleet is not None:
                    self._fleet.tally.end(host, outcome, now)
            case HostFailed(host, error):
                self._failed.add(host)
                if self._fleet is not None:
                    self._fleet.tally.fail(host, outcome_of(error))
                self._steps.pop(host, None)
                for title in [title for title, thing in self._things.items() if host in thing.hosts]:
                    self._end(title, host)
            case _:
                pass

    def _step(self, host: str, step: str, now: float) -> None:
        before = self._steps.pop(host, None)
        if before is not None:
            self._end(before, host)
        if step:
            self._steps[host] = step
            self._begin(step, host, now)

    def _moved(self, host: str, what: str, done: int, total: int, now: float) -> None:
        """Bytes of a host without a task are a thing of their own, until they are there."""
        before = self._streams.of([host])
        self._streams.moved(host, what, done, total, now)
        if host in self._at:
            return
        if host in before and before[host].what != what:
            self._end(before[host].what, host)
        whole = self._streams.of([host])[host].whole
        if not whole or what in self._things:
            self._begin(what, host, now)
        if what in self._things and all(stream.whole for stream in self._streams.of(self._things[what].hosts).values()):
            del self._things[what]

    def _begin(self, title: str, host: str, now: float) -> None:
        if self._fleet is not None and self._fleet.tally.is_over:
            self._fleet = None  # what begins now is no part of it
        self._things.setdefault(title, Thing(title, now)).hosts.setdefault(host, now)
        if self._fleet is not None:
            self._fleet.tally.start(host, now)

    def _end(self, title: str, host: str) -> None:
        thing = self._things.get(title)
        if thing is None:
            return
        thing.hosts.pop(host, None)
        if not thing.hosts:
            del self._things[title]
        else:  # one that hosts come to one after the other is as old as its oldest host
            thing.since = next(iter(thing.hosts.values()))

    # For people

    def lines(self, now: float, width: int, height: int = 24) -> list[str]:
        """Lines for a terminal: how long, how many hosts, then what goes on. No more than `height` of them, and none is
        wider than `width`.
        """
        if self._began is None:
            return []
        things = sorted(self._things.values(), key=lambda thing: thing.since)
        if self._fleet is not None:
            return self._of_a_fleet(self._fleet, things, now, width, height)
        head = [lasting(now - self._began), *([f"{len(self._failed)} failed"] if self._failed else [])]
        lines = [fitting(", ".join(head), width)]
        for thing in things[:SHOWN]:
            lines += self._fitted(thing, now, width)
            if len(things) == 1:
                lines += [fitting(f"  {line}", width) for line in self._behind(thing, now)]
        hidden = len(things[SHOWN:])
        return [*lines, *([fitting(f"and {plural(hidden, 'task')} more", width)] if hidden else [])][: max(1, height)]

    def _of_a_fleet(self, fleet: FleetProgress, things: list[Thing], now: float, width: int, height: int) -> list[str]:
        lines = [fitting(fleet.title(now), width), *fleet.table(now, width)]
        room = min(OF_A_FLEET, height - len(lines))
        at_work = [self._at_work(thing, now, len(things)) for thing in things]
        return [*lines, *at_work_lines(at_work, room, width, fitting)][: max(1, height)]

    def _at_work(self, thing: Thing, now: float, things: int) -> AtWork:
        slowest = tuple(f"{self._clean(host)} {lasting(now - at)}" for host, at in islice(thing.hosts.items(), SHOWN))
        stream = self._clean(self._streams.words(list(thing.hosts), now))
        title = self._clean(thing.title)
        more = [*([stream] if stream else []), *(self._behind(thing, now) if things == 1 else [])]
        return AtWork(title, len(thing.hosts), slowest, tuple(more))

    def _behind(self, thing: Thing, now: float) -> list[str]:
        return [self._clean(line) for line in self._streams.behind(thing.hosts, now)]

    def ended(self, event: HostEnded, now: float) -> list[str]:
        """The line of a host that has ended, for logs; none where it is the only one of its run, or that is a step on
        the way.
        """
        if self._fleet is None or self._passing:
            return []
        return [self._clean(self._fleet.line(event.host, event.changes, now))]

    def due(self, now: float) -> list[str]:
        """A line, where something has gone on for long enough since it was told of last; for logs."""
        while self._told and self._told[0] <= now - 60:
            self._told.popleft()
        due = [thing for thing in self._things.values() if thing.mark() <= now]
        if not due or len(self._told) >= MOST_A_MINUTE:
            return []
        for thing in due:
            while thing.mark() <= now:
                thing.times_told += 1
        self._told.append(now)
        eldest = min(due, key=lambda thing: thing.since)
        others = len(self._things) - 1
        more = [f"and {plural(others, 'task')} more"] if others else []
        began = now if self._began is None else self._began
        text = "; ".join(part for part in self._words(eldest, now) if part)
        counts = ", ".join([*self._counts(), *more])
        return ["; ".join([text, *([counts] if counts else []), f"{lasting(now - began)} in all"])]

    def _counts(self) -> list[str]:
        if self._fleet is not None:
            tally = self._fleet.tally
            return [f"{tally.done} of {tally.total} hosts done", *self._fleet.counts()]
        return [f"{len(self._failed)} failed"] if self._failed else []

    def _words(self, thing: Thing, now: float, short: bool = False) -> tuple[str, str]:
        """The task and its hosts, and how far they are; a stream without a task is named by what it is of."""
        names = list(thing.hosts)
        called = plural(len(names), "host") if short else hosts_named(names)
        stream = self._clean(self._streams.words(names, now))
        if stream and all(self._at.get(name) != thing.title for name in names):
            return f"{self._clean(called)}: {stream}", ""
        return self._clean(f"{thing.title}: {called}, {lasting(now - thing.since)}"), stream

    def _fitted(self, thing: Thing, now: float, width: int) -> list[str]:
        """One line where that is enough, else two."""
        for short in (False, True):
            head, stream = self._words(thing, now, short)
            whole = f"{head}; {stream}" if stream else head
            if columns(whole) <= width:
                return [whole]
            if stream and columns(head) <= width:
                return [head, fitting(f"  {stream}", width)]
        return [fitting(line, width) for line in (head, f"  {stream}") if line.strip()]


def fitting(line: str, width: int) -> str:
    """Whole words only; what was left out is shown by dots."""
    if columns(line) <= width:
        return line
    kept = cut(line, max(3, width)).removesuffix("...").rsplit(" ", 1)[0].rstrip(" ,;:")
    return (kept + "...")[: max(0, width)]
