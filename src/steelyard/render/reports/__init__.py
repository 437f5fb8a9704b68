"""Reports of a drift check for other programs: one format per file, each a pure function of a `Report` to text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from steelyard.errors import ReportUnknown, SteelyardError, nearest_key
from steelyard.render.redaction import in_json, in_xml

if TYPE_CHECKING:
    from steelyard.drift.report import DriftReport

FORMATS = ("github", "gitlab", "junit", "markdown", "sarif")


def in_command(text: str) -> str:
    """The text as it stands in a workflow command of GitHub's."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


# how a format writes a text that is put into it
WRITTEN = {"github": in_command, "gitlab": in_json, "junit": in_xml, "sarif": in_json}


@dataclass(frozen=True)
class Report:
    """The material of every format. `inventory` is where a reader finds what is declared; `looked_at` are hosts."""

    inventory: str
    made: str
    drifted: DriftReport
    looked_at: tuple[str, ...]
    errors: tuple[SteelyardError, ...]


def writer_of(name: str) -> Callable[[Report], str]:
    """The format's function. Raises ReportUnknown."""
    if name not in FORMATS:
        raise ReportUnknown(
            where="--report", found=name, allowed=", ".join(FORMATS), nearest=nearest_key(name, list(FORMATS))
        )
    write: Callable[[Report], str] = import_module(f"{__name__}.{name}").write
    return write
