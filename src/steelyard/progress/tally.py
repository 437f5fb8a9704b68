"""The tally of a run over hosts: how many are done and how they came out, how many a second, how long it takes yet.

Hosts end in any order, and many work at once, so their rate alone tells little of what is left: the first burst of them
ends when each has taken its time. What is left is counted in the time that a host takes; nothing is told of it before
enough of them have ended.
"""

from __future__ import annotations

from collections import Counter
from math import sqrt

from steelyard.api.outcome import HostOutcome

from .pace import Pace

BURSTS = 0.5  # of the time until now: hosts that take a minute each end in bursts
LEAST = 3  # hosts that have ended, before anything is told of what is left
SPREAD = 2.0  # deviations: the last one of many takes longer than most
LEAST_S = 1.0  # that are told of
OF_THOSE_AT_ONCE = 0.25  # that have ended too: the first ones are the fast ones


class Tally:
    """`start`, `fail` and `end` hosts. Times are monotonic, in s; a host that is told of twice counts once."""

    def __init__(self, total: int, now: float) -> None:
        self.total, self.began = total, now
        self.ended: dict[str, HostOutcome | None] = {}  # None: it did what it was asked for
        self.failed: dict[str, HostOutcome] = {}  # those that go on with other tasks too
        self._pace = Pace(BURSTS)
        self._pace.note(now, 0)
        self._since: dict[str, float] = {}
        self._most = 0  # at work at once
        self._took = self._squares = 0.0  # of all that have ended

    @property
    def done(self) -> int:
        return len(self.ended)

    @property
    def is_over(self) -> bool:
        return self.done >= self.total

    @property
    def at_work(self) -> int:
        return len(self._since)

    def start(self, host: str, now: float) -> None:
        """A host is at work."""
        if host not in self.ended and host not in self._since:
            self._since[host] = now
            self._most = max(self._most, len(self._since))

    def fail(self, host: str, outcome: HostOutcome) -> None:
        """Note that something failed on a host, which may go on."""
        self.failed[host] = outcome

    def end(self, host: str, outcome: HostOutcome | None, now: float) -> None:
        """A host is done; one that has failed has failed, whatever came of its other tasks."""
        if host not in self.ended:
            took_s = now - self._since.pop(host, now)
            self._took += took_s
            self._squares += took_s**2
        self.ended[host] = self.failed.get(host, outcome)
        self._pace.note(now, self.done)

    @property
    def outcomes(self) -> Counter[HostOutcome]:
        """The number of hosts by how they came out, those that failed and go on among them."""
        counted = Counter(outcome for outcome in self.ended.values() if outcome is not None)
        return counted + Counter(outcome for host, outcome in self.failed.items() if host not in self.ended)

    def rate(self, now: float) -> float | None:
        """Hosts per second; None while nobody knows."""
        return self._pace.rate(now)

    def left(self, now: float) -> float | None:
        """Seconds until all are done, if the others take what a host has taken so far; None while nobody knows.

        Nobody does either where all that is left are hosts that have taken longer than that already.
        """
        if self.done < max(LEAST, OF_THOSE_AT_ONCE * self._most) or self.is_over or not self._most:
            return None
        mean_s = self._took / self.done
        late_s = mean_s + SPREAD * sqrt(max(0.0, self._squares / self.done - mean_s**2))
        waiting = self.total - self.done - self.at_work
        if waiting <= 0:
            seconds = max(self._since.values(), default=now) + late_s - now
            return max(LEAST_S, seconds) if seconds > 0 else None
        # whoever waits begins where one ends: the last of them so many rounds from now, behind the one in its place
        rests = sorted(max(0.0, since + mean_s - now) for since in self._since.values())
        places = [0.0] * (self._most - self.at_work) + rests
        rounds, place = divmod(waiting - 1, len(places))
        return max(places[place] + rounds * mean_s + late_s, places[-1], LEAST_S)
