"""Who takes a version's chunks from whom. Pure: decisions only, made from what hosts told.

Hosts stand in a chain, so every link carries the version once: the whole takes size/bandwidth and one chunk per host. One
chain per rack where racks are declared; the heads of the others take from the first head, so the origin is read once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping

ORIGIN = ""  # the controller, as a predecessor
WINDOW_S = 2.0  # over which a rate is taken
BEHIND = 0.04  # of the version: how far behind its predecessor a slow host is
SLOW = 0.5  # of the best rate that its predecessor had


class Chain:
    """`feeds`: host -> its predecessor, or ORIGIN. Hosts leave it, or step aside; nobody is ever fed by two."""

    def __init__(self, hosts: Iterable[str], racks: Mapping[str, str] | None = None) -> None:
        self.feeds: dict[str, str] = {}
        self._racks: dict[str, str] = {}
        for host in hosts:
            self.add(host, (racks or {}).get(host, ""))

    def add(self, host: str, rack: str = "") -> None:
        """Last in its rack; the first of a rack takes from the first of all."""
        mine = [name for name in self.feeds if self._racks[name] == rack]
        self.feeds[host] = mine[-1] if mine else next(iter(self.feeds), ORIGIN)
        self._racks[host] = rack

    def successors(self, host: str) -> list[str]:
        return [name for name, predecessor in self.feeds.items() if predecessor == host]

    def leave(self, host: str) -> list[str]:
        """The host is gone. Hosts that have another predecessor now."""
        heirs = self.successors(host)
        predecessor = self.feeds.pop(host)
        return self._inherit(heirs, predecessor)

    def aside(self, host: str) -> list[str]:
        """The host is slow: nobody waits for it any more. Hosts that have another predecessor now."""
        heirs = self.successors(host)
        moved = self._inherit(heirs, self.feeds[host])
        if heirs and self.feeds[host] == ORIGIN:
            self.feeds[host] = heirs[0]  # the origin is read once
            moved.append(host)
        return moved

    def _inherit(self, heirs: list[str], predecessor: str) -> list[str]:
        for number, heir in enumerate(heirs):
            self.feeds[heir] = heirs[0] if number else predecessor
        return heirs


class Pace:
    """How many bytes each host has had when."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.bytes: dict[str, int] = {}
        self._seen: dict[str, deque[tuple[float, int]]] = {}
        self._best: dict[str, float] = {}
        self._judged: dict[str, float] = {}  # from when on

    def told(self, host: str, now: float, count: int) -> None:
        self.bytes[host] = count
        seen = self._seen.setdefault(host, deque())
        seen.append((now, count))
        while len(seen) > 2 and seen[1][0] <= now - WINDOW_S:
            seen.popleft()
        self._best[host] = max(self._best.get(host, 0.0), self.rate(host, now))

    def moved(self, host: str, now: float) -> None:
        """It takes from another now: what it took before says nothing of that, for two windows."""
        self._seen.pop(host, None)
        self._judged[host] = now + 2 * WINDOW_S

    def rate(self, host: str, now: float) -> float:
        """Bytes per second over the last window."""
        seen = self._seen.get(host)
        if not seen:
            return 0.0
        return (seen[-1][1] - seen[0][1]) / max(now - seen[0][0], WINDOW_S / 2)

    def slow(self, chain: Chain, now: float) -> list[str]:
        """Hosts that keep a successor waiting: far behind their predecessor, at less than half of what it could take."""
        found = []
        for host, predecessor in chain.feeds.items():
            if predecessor == ORIGIN or not chain.successors(host) or now < self._judged.get(host, 0.0):
                continue
            lead = self.bytes.get(predecessor, 0) - self.bytes.get(host, 0)
            if lead > BEHIND * self.total and self.rate(host, now) < SLOW * self._best.get(predecessor, 0.0):
                found.append(host)
        return found
