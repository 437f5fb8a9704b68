"""Streams of bytes to many hosts as a few lines: all together, then the hosts that are furthest behind. Pure but for the clock."""

from __future__ import annotations

import time
from collections import deque

from .text import plural

BEHIND = 6  # hosts that get a line of their own
WINDOW_S = 10.0  # over which a rate is taken


class Streams:
    """`moved` tells what came; `lines` says where it all stands."""

    def __init__(self) -> None:
        self._now: dict[tuple[str, str], tuple[int, int]] = {}
        self._seen: dict[tuple[str, str], deque[tuple[float, int]]] = {}

    def moved(self, host: str, what: str, done: int, total: int, now: float | None = None) -> None:
        now = time.monotonic() if now is None else now
        self._now[host, what] = (done, total)
        seen = self._seen.setdefault((host, what), deque())
        seen.append((now, done))
        while len(seen) > 2 and seen[1][0] < now - WINDOW_S:
            seen.popleft()

    def _rate(self, key: tuple[str, str]) -> float:
        """Bytes per second over the last window; what was there when a stream began is no rate."""
        seen = self._seen[key]
        seconds = seen[-1][0] - seen[0][0]
        return (seen[-1][1] - seen[0][1]) / seconds if seconds > 0.2 else 0.0

    def lines(self, what: str) -> list[str]:
        """The first line is of all hosts, where there are several."""
        mine = {key: now for key, now in self._now.items() if key[1] == what}
        behind = sorted(
            (key for key, (done, total) in mine.items() if done < total), key=lambda key: mine[key][0] / (mine[key][1] or 1)
        )
        single = [f"{key[0]}: {_words(what, *mine[key], self._rate(key))}" for key in behind[:BEHIND]]
        if len(mine) < 2:
            return single or [f"{host}: {_words(name, *now, 0.0)}" for (host, name), now in mine.items()]
        done, total = (sum(now[part] for now in mine.values()) for part in (0, 1))
        whole = f"{len(mine) - len(behind)} of {plural(len(mine), 'host')} whole"
        slowest = max((self._left(key) for key in behind), default=0.0)
        words = f"{what}: {whole}, {done / 1e6:.0f} of {total / 1e6:.0f} MB, {sum(self._rate(key) for key in behind) / 1e6:.0f} MB/s"
        more = [f"and {plural(len(behind) - BEHIND, 'host')} more"] if len(behind) > BEHIND else []
        return [words + (f", {slowest:.0f} s left" if slowest else ""), *(f"  {line}" for line in [*single, *more])]

    def _left(self, key: tuple[str, str]) -> float:
        rate, (done, total) = self._rate(key), self._now[key]
        return (total - done) / rate if rate else 0.0


def _words(what: str, done: int, total: int, rate: float) -> str:
    left = f", {rate / 1e6:.0f} MB/s, {(total - done) / rate:.0f} s left" if rate else ""
    return f"{what}: {done / 1e6:.0f} of {total / 1e6:.0f} MB{left}"
