"""Streams of bytes to many hosts as a few words: all together, then the hosts that are furthest behind. Pure: who asks
says when.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from steelyard.progress.pace import Pace

from .text import plural

BEHIND = 6  # hosts that get a line of their own
KINDS = 3  # of things that a line tells of
UNITS = (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3), ("B", 1.0))


@dataclass
class Stream:
    """The bytes that one host gets. A later `what`, or fewer bytes than before, is another stream."""

    what: str
    done: int
    total: int  # 0: nobody knows
    unit: str = "bytes"
    pace: Pace = field(default_factory=Pace)

    @property
    def whole(self) -> bool:
        return 0 < self.total <= self.done

    def waits(self, now: float) -> bool:
        """Whether it has got nothing for a whole window."""
        return not self.whole and self.pace.rests(now)

    def left(self, now: float) -> float | None:
        """Seconds until it is whole, at this rate."""
        return self.pace.left(now, self.total) if self.unit == "bytes" else None


class Streams:
    """`moved` tells what came; `words` and `behind` say where it all stands."""

    def __init__(self) -> None:
        self._by_host: dict[str, Stream] = {}

    def moved(self, host: str, what: str, done: int, total: int, now: float, unit: str = "bytes") -> None:
        stream = self._by_host.get(host)
        if stream is None or stream.what != what or done < stream.done:
            stream = self._by_host[host] = Stream(what, done, total, unit)
        stream.pace.note(now, done)
        stream.done, stream.total = done, total

    def forget(self, host: str) -> None:
        self._by_host.pop(host, None)

    def of(self, hosts: Iterable[str], what: str | None = None) -> dict[str, Stream]:
        return {
            name: self._by_host[name]
            for name in hosts
            if name in self._by_host and what in (None, self._by_host[name].what)
        }

    def words(self, hosts: Iterable[str], now: float) -> str:
        """All of these hosts' streams together, those of one thing as one; empty where there is none."""
        mine = self.of(hosts)
        kinds: dict[str, list[Stream]] = {}
        for stream in mine.values():
            kinds.setdefault(stream.what, []).append(stream)
        shown = [_together(what, streams, now) for what, streams in list(kinds.items())[:KINDS]]
        more = [f"and {plural(len(kinds) - KINDS, 'thing')} more"] if len(kinds) > KINDS else []
        return "; ".join([*shown, *more])

    def behind(self, hosts: Iterable[str], now: float) -> list[str]:
        """A line for each of those that have least, where there are several."""
        mine = self.of(hosts)
        if len(mine) < 2:
            return []
        late = sorted(
            (name for name in mine if not mine[name].whole), key=lambda name: mine[name].done / (mine[name].total or 1)
        )
        more = [f"and {plural(len(late) - BEHIND, 'host')} more"] if len(late) > BEHIND else []
        return [*(f"{name}: {_together(mine[name].what, [mine[name]], now)}" for name in late[:BEHIND]), *more]


def _together(what: str, streams: Sequence[Stream], now: float) -> str:
    done, total, unit = sum(stream.done for stream in streams), sum(stream.total for stream in streams), streams[0].unit
    known = all(stream.total for stream in streams)
    if not unit:
        return what if len(streams) == 1 else f"{what} on {plural(len(streams), 'host')}"
    if unit != "bytes":
        return f"{what} {done} of {total} {unit}" if known else f"{what} {done} {unit}"
    parts = [f"{what} {amount(done, total) if known else size(done) + ' so far'}"]
    if len(streams) > 1:
        whole = sum(1 for stream in streams if stream.whole)
        parts = [
            f"{what}: {whole} of {plural(len(streams), 'host')} whole",
            amount(done, total) if known else size(done) + " so far",
        ]
    if all(stream.whole for stream in streams):
        return ", ".join(parts)
    rates = [rate for stream in streams if (rate := stream.pace.rate(now)) is not None]
    waiting = sum(1 for stream in streams if stream.waits(now))
    left = [stream.left(now) for stream in streams if not stream.whole]
    if rates:
        parts.append(f"{size(sum(rates))}/s")
    if waiting:
        parts.append("waiting" if len(streams) == 1 else f"{waiting} waiting")
    elif None not in left:
        parts.append(f"{lasting(max(seconds or 0 for seconds in left))} left")
    return ", ".join(parts)


def size(count: float) -> str:
    """`1.2 GB`, `450 MB`, `800 kB`: two digits at least of what is not nothing."""
    unit, one = _unit(count)
    return f"{_digits(count / one)} {unit}"


def amount(done: int, total: int) -> str:
    """`0.3 of 1.2 GB`: both in the unit of the whole."""
    unit, one = _unit(total)
    return f"{_digits(min(done, total) / one) if done else '0'} of {_digits(total / one)} {unit}"


def _unit(count: float) -> tuple[str, float]:
    """The largest that there is one of, when rounded: there are no 1000 MB."""
    return next(((unit, one) for unit, one in UNITS if count >= 0.9995 * one), UNITS[-1])


def _digits(value: float) -> str:
    text = f"{value:.{2 if value < 0.995 else 1 if value < 9.95 else 0}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def lasting(seconds: float) -> str:
    """`8 s`, `2 min 05 s`, `1 h 20 min`."""
    whole = max(0, int(seconds + 0.5))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"
