"""The pace of a count that grows: how much of it a second, and the seconds that are left. Who asks says when."""

from __future__ import annotations

from collections import deque

WINDOW_S = 10.0  # over which a rate is taken
KNOWN_S = 1.0  # of a count, before it has a rate


class Pace:
    """`note` what is done by now; what was there when it began is no rate.

    `share`: of all the time until now, where that is more than the window: what comes in bursts, minutes apart, has a
    rate too.
    """

    def __init__(self, share: float = 0.0) -> None:
        self.done = 0
        self._share = share
        self._began: float | None = None
        self._seen: deque[tuple[float, int]] = deque()

    def note(self, now: float, done: int) -> None:
        """So much is done by now."""
        if self._began is None:
            self._began = now
        if not self._seen or done > self.done:
            self._seen.append((now, done))
        self.done = done

    def rate(self, now: float) -> float | None:
        """The count per second over the last window; None while there is none."""
        if self._began is None:
            return None
        window = max(WINDOW_S, self._share * (now - self._began))
        while len(self._seen) > 1 and self._seen[1][0] <= now - window:
            self._seen.popleft()
        at, first = self._seen[0]
        seconds = min(now - at, window)  # where the window begins, this much was there
        if seconds < KNOWN_S or self.done <= first:
            return None
        return (self.done - first) / seconds

    def rests(self, now: float) -> bool:
        """Whether nothing has come for a whole window."""
        return bool(self._seen) and now - self._seen[-1][0] >= WINDOW_S and self.rate(now) is None

    def left(self, now: float, total: int) -> float | None:
        """Seconds until `total` is done at this rate; None where nobody knows."""
        rate = self.rate(now)
        return (total - self.done) / rate if rate and total else None
