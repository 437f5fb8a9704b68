"""A run over many hosts in words: a table for a terminal, and a line for each host that is done where there is none.
Pure: the caller says when.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from steelyard.api.outcome import HostOutcome
from steelyard.events import APPLYING
from steelyard.progress.tally import Tally

from .progress import lasting
from .text import plural
from .width import columns, wrapped

UNITS = ((1.0, "s"), (60.0, "min"), (3600.0, "h"))
GAP = "  "
WHAT = 24  # columns that are left for what goes on, at least, where more of the slowest hosts are named
CHANGING = (HostOutcome.IN_SYNC, HostOutcome.CHANGES, HostOutcome.UNKNOWN)  # of runs that compare with a deploy
Fit = Callable[[str, int], str]  # a line within so many columns


class AtWork(NamedTuple):
    """A thing that goes on, on so many hosts; of the slowest, `gpu-17 31 s`. `more`: lines on how far it is."""

    what: str
    hosts: int
    slowest: tuple[str, ...]
    more: tuple[str, ...] = ()


def frequency(rate: float | None) -> str:
    """`4.1 hosts/s`, `12 hosts/min`; empty where it is not known. At least one in its unit, if an hour has one."""
    if rate is None:
        return ""
    seconds, unit = next(((seconds, unit) for seconds, unit in UNITS if rate * seconds >= 0.95), UNITS[-1])
    count = rate * seconds
    return f"{count:.0f} hosts/{unit}" if count >= 9.95 else f"{count:.1f} hosts/{unit}"


class FleetProgress:
    """The words of one run: of what `work` does on the hosts of `tally`."""

    def __init__(self, work: str, tally: Tally) -> None:
        self.work, self.tally = work, tally

    def title(self, now: float) -> str:
        return f"{self.work} {plural(self.tally.total, 'host')}, {lasting(now - self.tally.began)}"

    def _left(self, now: float) -> str:
        if self.tally.is_over:
            return "-"
        left = self.tally.left(now)
        return "unknown" if left is None else lasting(left)

    @property
    def _changed(self) -> str:
        return "changed" if self.work == APPLYING else "with changes"

    def counts(self) -> list[str]:
        """`3 with changes`, `1 unreachable`: what is worth a word, without zeros."""
        outcomes = self.tally.outcomes
        called = {
            HostOutcome.CHANGES: self._changed,
            HostOutcome.UNKNOWN: "unknown",
            HostOutcome.UNREACHABLE: "unreachable",
            HostOutcome.FAILED: "failed",
        }
        return [f"{outcomes[outcome]} {word}" for outcome, word in called.items() if outcomes[outcome]]

    def line(self, host: str, changes: int, now: float) -> str:
        """The line of a host that is done: `gpu-17: in sync (12/500, 3 with changes, 4.1 hosts/s, 2 min 05 s left)`."""
        tally = self.tally
        parts = [f"{tally.done}/{tally.total}", *self.counts()]
        parts += self._pace(now)
        return f"{host}: {self._ended(host, changes)} ({', '.join(parts)})"

    def _pace(self, now: float) -> list[str]:
        """`4.1 hosts/s` where it is known, and how long it takes yet; at the end how long it took."""
        tally = self.tally
        if tally.is_over:
            return [f"{lasting(now - tally.began)} in all"]
        left = tally.left(now)
        rate = frequency(tally.rate(now))
        return [*([rate] if rate else []), "time left unknown" if left is None else f"{lasting(left)} left"]

    def _ended(self, host: str, changes: int) -> str:
        outcome = self.tally.ended.get(host)
        if outcome is None:
            return "done"
        if outcome is HostOutcome.CHANGES:
            return f"changed by {plural(changes, 'task')}" if self.work == APPLYING else plural(changes, "change")
        return str(outcome)

    # A terminal

    def table(self, now: float, width: int) -> list[str]:
        """A head and a row of figures; as words in lines where they are too wide."""
        tally = self.tally
        figures = {"DONE": f"{tally.done}/{tally.total}"}
        outcomes = tally.outcomes
        if self.work == APPLYING or any(outcomes[outcome] for outcome in CHANGING):
            figures["CHANGED" if self.work == APPLYING else "CHANGES"] = str(outcomes[HostOutcome.CHANGES])
        figures |= {
            "UNREACHABLE": str(outcomes[HostOutcome.UNREACHABLE]),
            "FAILED": str(outcomes[HostOutcome.FAILED]),
            "AT WORK": str(tally.at_work),
            "RATE": frequency(tally.rate(now)) or "unknown",
            "TIME LEFT": self._left(now),
        }
        rows = aligned([list(figures), list(figures.values())])
        if columns(rows[0]) <= width and max(map(columns, rows)) <= width:
            return rows
        text = ", ".join([f"{figures['DONE']} done", *self.counts(), *self._pace(now)])
        return wrapped(text, max(1, width))


def at_work_lines(things: Sequence[AtWork], room: int, width: int, fit: Fit) -> list[str]:
    """A row for each thing that goes on, with the slowest of its hosts: those that fit `room` lines, and a count."""
    if not things or room < 1:
        return []
    shown = list(things)
    while len(shown) > 1 and _height(shown, len(things)) > room:
        shown.pop()
    hidden = len(things) - len(shown)
    rows = _rows(shown, width, fit)
    lines = [rows[0]] if rows[0] else []
    for thing, row in zip(shown, rows[1:], strict=True):
        lines += [row, *(fit(f"  {line}", width) for line in thing.more)]
    return [*lines, *([fit(f"and {plural(hidden, 'thing')} more", width)] if hidden else [])][:room]


def _rows(shown: Sequence[AtWork], width: int, fit: Fit) -> list[str]:
    """A head, and a row a thing with as many of its slowest hosts as fit; without a head where that is none."""
    named = [tuple(", ".join(thing.slowest[:count]) for thing in shown) for count in (3, 2, 1)]
    for slowest in named:
        wide = width - max(map(columns, slowest)) - len("HOSTS") - 2 * len(GAP)
        if wide >= min(WHAT, max(columns(thing.what) for thing in shown)):
            cells = zip(shown, slowest, strict=True)
            rows = [[fit(thing.what, wide), str(thing.hosts), names] for thing, names in cells]
            return aligned([["AT", "HOSTS", "SLOWEST"], *rows])
    lines = (f"{thing.what}: {plural(thing.hosts, 'host')}, {thing.slowest[0]}" for thing in shown)
    return ["", *(fit(line, width) for line in lines)]


def _height(shown: Sequence[AtWork], of: int) -> int:
    return 1 + sum(1 + len(thing.more) for thing in shown) + (len(shown) < of)


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """The cells of the rows below each other."""
    widths = [max(columns(cell) for cell in column) for column in zip(*rows, strict=True)]
    padded = (
        GAP.join(cell + " " * (width - columns(cell)) for cell, width in zip(row, widths, strict=True)) for row in rows
    )
    return [row.rstrip() for row in padded]
