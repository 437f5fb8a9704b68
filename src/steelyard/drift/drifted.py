"""The result of a drift check: what counts, what is excepted, and the exit code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from steelyard.finding import Finding

from .exceptions import Placed


@dataclass(frozen=True)
class Drifted:
    """`findings` count for the exit code; each of `excepted` is with the exception that covers it."""

    findings: tuple[Finding, ...]
    excepted: tuple[tuple[Finding, Placed], ...]


def settle(findings: Sequence[Finding], exceptions: Sequence[Placed], today: date) -> Drifted:
    """An expired exception covers nothing, and is a finding itself."""
    valid = [exception for exception in exceptions if exception.expired(today) is None]
    counting: list[Finding] = [expired for exception in exceptions if (expired := exception.expired(today)) is not None]
    excepted = []
    for finding in findings:
        cover = next((exception for exception in valid if exception.covers(finding)), None)
        if cover is None:
            counting.append(finding)
        else:
            excepted.append((finding, cover))
    return Drifted(tuple(sorted(counting, key=lambda found: (found.host, found.code, found.subject))), tuple(excepted))
