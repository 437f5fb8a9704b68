"""The hosts of a push that do not move although they could. Pure: decisions only, made from what hosts told.

A helper that says it lives, and does nothing else, would keep a push from ending.
"""

from __future__ import annotations

from collections.abc import Iterable

from .chain import ORIGIN, RelayChain

STALLED_S = 120.0  # without a byte, while the predecessor says that it has more
GIVEN_UP_S = 600.0  # without a byte, while the controller feeds it
COMPARED = 10e6  # bytes per second that a slow disk is compared, or synced, at


class Stalls:
    """Notes since when a host has not moved although it could. Times are monotonic, in s."""

    def __init__(self, total: int, rate: int | None, largest: int) -> None:
        """`total`, `largest`: bytes of the version and of its largest chunk; `rate`: bytes per second that each hands
        on, or None.
        """
        self._total = total
        self._slack = 8 * largest / rate if rate else 0.0
        self._bytes: dict[str, int] = {}
        self._since: dict[str, float] = {}

    @property
    def alone_s(self) -> float:
        """Seconds that a host may take to compare what it has before, or to sync and publish it after."""
        return GIVEN_UP_S + self._total / COMPARED

    def moved(self, host: str, now: float) -> None:
        """Begins to wait for a host anew: it came, or takes from another."""
        self._since[host] = now

    def record(self, host: str, now: float, count: int) -> None:
        """Notes that a host has `count` bytes."""
        if count != self._bytes.get(host):
            self._bytes[host] = count
            self._since[host] = now

    def stalled(self, chain: RelayChain, published: Iterable[str], now: float) -> list[str]:
        """Hosts that could have taken a chunk from their predecessor, and did not for too long."""
        done = set(published)
        stalled = []
        for host, predecessor in chain.feeds.items():
            has = self._bytes.get(host, 0)
            before = self._total if predecessor in done else self._bytes.get(predecessor, 0)
            if predecessor == ORIGIN or host in done or has >= before:
                if predecessor != ORIGIN and has < self._total:
                    self._since[host] = now  # there is nothing to take: that is not its fault
                continue
            if now - self._since.get(host, now) > STALLED_S + self._slack:
                stalled.append(host)
        return stalled

    def given_up(self, hosts: Iterable[str], chain: RelayChain, now: float) -> dict[str, str]:
        """Hosts that will never have the version, as far as anybody can tell, and why: those that are fed from here
        and take nothing, and those that are alone with their disk without an end. `hosts`: without those that have it.
        """
        over: dict[str, str] = {}
        for host in hosts:
            waited = now - self._since.setdefault(host, now)
            whole = self._bytes.get(host) == self._total
            if host not in chain.feeds or whole:
                if waited > self.alone_s:
                    work = "syncs and publishes" if whole else "compares what it has"
                    over[host] = f"its helper {work} for {self.alone_s:.0f} s without an end"
            elif chain.feeds[host] == ORIGIN and waited > GIVEN_UP_S + self._slack:
                over[host] = f"it took nothing that was sent for {GIVEN_UP_S + self._slack:.0f} s"
        return over
