"""Sets of wheels as planning and collecting them give them, for whoever shows them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .wheel_resolution import ResolvedWheels


@dataclass(frozen=True)
class PlannedSet:
    """A resolved set, the hosts it is for, and what has to be said of it."""

    resolution: ResolvedWheels
    hosts: tuple[str, ...]
    notes: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True)
class CollectedSet:
    """A whole set on this machine.

    `fetched` is false where it was there already. `declare` is the line that pins it.
    """

    name: str
    folder: str
    wheels: int
    bytes: int
    lock_sha256: str
    fetched: bool
    declare: str


def size_of(count: int | None) -> str:
    """A size as registries and disks tell it, in powers of ten."""
    if count is None:
        return "unknown"
    for unit, divisor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= divisor:
            return f"{count / divisor:.2f} {unit}" if unit == "GB" else f"{count / divisor:.1f} {unit}"
    return f"{count} B"
