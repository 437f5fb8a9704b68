"""Reports of a drift check for other programs: one format per file, each a pure function of a `Report` to text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from steelyard.errors import ReportUnknown, SteelyardError, nearest_key

if TYPE_CHECKING:
    from steelyard.drift.drifted import Drifted

FORMATS = ("github", "gitlab", "junit", "markdown", "sarif")


@dataclass(frozen=True)
class Report:
    """What every format is made of. `inventory` is where a reader finds what is declared; `looked_at` hosts answered."""

    inventory: str
    made: str
    drifted: Drifted
    looked_at: tuple[str, ...]
    errors: tuple[SteelyardError, ...]


def writer_of(name: str) -> Callable[[Report], str]:
    """The format's function. Raises ReportUnknown."""
    if name not in FORMATS:
        raise ReportUnknown(where="--report", found=name, allowed=", ".join(FORMATS), nearest=nearest_key(name, list(FORMATS)))
    write: Callable[[Report], str] = import_module(f"{__name__}.{name}").write
    return write
