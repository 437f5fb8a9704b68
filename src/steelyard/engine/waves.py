"""Waves of a run: in which groups it goes through its hosts, and after how many failures it stops. Pure arithmetic."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from steelyard.errors import ShareWrong


@dataclass(frozen=True)
class Share:
    """A part of the hosts of a run: `3` of them, or `25%`."""

    count: int
    percent: bool = False

    @classmethod
    def parse(cls, text: str, where: str, least: int = 0) -> Share:
        """Read a share. Raises ShareWrong: not a number of at least `least`, nor a percentage up to 100."""
        match = re.fullmatch(r"\s*(\d{1,6})\s*(%?)\s*", text)
        if match is None or int(match[1]) < least or (match[2] and int(match[1]) > 100):
            raise ShareWrong(where=where, found=text, least=str(least))
        return cls(int(match[1]), bool(match[2]))

    def of(self, total: int) -> int:
        """Return the number of hosts out of `total`; a percentage is rounded down."""
        return total * self.count // 100 if self.percent else min(self.count, total)


def waves_of(names: Sequence[str], serial: Share | None) -> Iterator[tuple[str, ...]]:
    """Yield the hosts in order, in groups of at most `serial` (at least one each); all at once without it."""
    size = len(names) if serial is None else max(1, serial.of(len(names)))
    for start in range(0, len(names), max(1, size)):
        yield tuple(names[start : start + size])


@dataclass
class FailLimit:
    """Count of the hosts that are lost to a run, unreachable ones too. `allowed` None: it never stops."""

    total: int
    allowed: Share | None = None
    failed: set[str] = field(default_factory=set)

    def note(self, host: str) -> None:
        """Count a host as lost; twice is once."""
        self.failed.add(host)

    @property
    def most(self) -> int | None:
        """Number of hosts that may fail; None: any number."""
        return None if self.allowed is None else self.allowed.of(self.total)

    @property
    def exceeded(self) -> bool:
        return self.most is not None and len(self.failed) > self.most
