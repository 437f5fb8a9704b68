"""The relay chain: which host takes a version's chunks from which. Pure: decisions only, made from what hosts told.

Hosts stand in a chain, so every link carries the version once: the whole takes size/bandwidth and one chunk per host.
One chain per rack where racks are declared; the heads of the others take from the first head, so the origin is read
once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping

ORIGIN = ""  # the controller, as a predecessor
WINDOW_S = 2.0  # over which a rate is taken
BEHIND = 0.04  # of the version: how far behind its predecessor a slow host is
SLOW = 0.5  # of the best rate that its predecessor had


class RelayChain:
    """The predecessor of each host in `feeds`, or ORIGIN. Hosts leave it, or are bypassed; nobody is fed by two."""

    def __init__(self, hosts: Iterable[str], racks: Mapping[str, str] | None = None) -> None:
        self.feeds: dict[str, str] = {}
        self._racks: dict[str, str] = {}
        for host in hosts:
            self.add(host, (racks or {}).get(host, ""))

    def add(self, host: str, rack: str = "") -> None:
        """Puts a host last in its rack; the first of a rack takes from the first of all."""
        mine = [name for name in self.feeds if self._racks[name] == rack]
        self.feeds[host] = mine[-1] if mine else next(iter(self.feeds), ORIGIN)
        self._racks[host] = rack

    def successors(self, host: str) -> list[str]:
        """Hosts that take from this one."""
        return [name for name, predecessor in self.feeds.items() if predecessor == host]

    def leave(self, host: str) -> list[str]:
        """Takes a host out that is gone. Hosts that have another predecessor now."""
        successors = self.successors(host)
        predecessor = self.feeds.pop(host)
        return self._feed_from(predecessor, successors)

    def bypass(self, host: str) -> list[str]:
        """Lets nobody wait any more for a host that is slow. Hosts that have another predecessor now."""
        successors = self.successors(host)
        moved = self._feed_from(self.feeds[host], successors)
        if successors and self.feeds[host] == ORIGIN:
            self.feeds[host] = successors[0]  # the origin is read once
            moved.append(host)
        return moved

    def _feed_from(self, predecessor: str, hosts: list[str]) -> list[str]:
        """The first of the hosts takes from the predecessor, and the others from the first."""
        for number, host in enumerate(hosts):
            self.feeds[host] = hosts[0] if number else predecessor
        return hosts


class ThroughputTracker:
    """Counts how many bytes each host has had when, and so how fast it takes them. Times are monotonic, in s."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.bytes: dict[str, int] = {}
        self._seen: dict[str, deque[tuple[float, int]]] = {}
        self._best: dict[str, float] = {}
        self._judged: dict[str, float] = {}  # from when on

    def record(self, host: str, now: float, count: int) -> None:
        """Notes that a host has `count` bytes of the version now."""
        self.bytes[host] = count
        seen = self._seen.setdefault(host, deque())
        seen.append((now, count))
        while len(seen) > 2 and seen[1][0] <= now - WINDOW_S:
            seen.popleft()
        self._best[host] = max(self._best.get(host, 0.0), self.rate(host, now))

    def restart(self, host: str, now: float) -> None:
        """Forgets how fast a host was: it takes from another now, and is not judged for two windows."""
        self._seen.pop(host, None)
        self._judged[host] = now + 2 * WINDOW_S

    def rate(self, host: str, now: float) -> float:
        """Bytes per second that a host took over the last window."""
        seen = self._seen.get(host)
        if not seen:
            return 0.0
        return (seen[-1][1] - seen[0][1]) / max(now - seen[0][0], WINDOW_S / 2)

    def slow(self, chain: RelayChain, now: float) -> list[str]:
        """Hosts that keep a successor waiting: far behind their predecessor, at under half of what that one took."""
        slow = []
        for host, predecessor in chain.feeds.items():
            if predecessor == ORIGIN or not chain.successors(host) or now < self._judged.get(host, 0.0):
                continue
            lead = self.bytes.get(predecessor, 0) - self.bytes.get(host, 0)
            if lead > BEHIND * self.total and self.rate(host, now) < SLOW * self._best.get(predecessor, 0.0):
                slow.append(host)
        return slow
