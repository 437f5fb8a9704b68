"""The result of a drift check: what counts, what is excepted, and the exit code."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

from steelyard.api.finding import Finding

from .causes import Consequence, fold
from .exceptions import DeclaredException


@dataclass(frozen=True)
class DriftReport:
    """`findings` count for the exit code; each of `excepted` is with the exception that covers it.

    `consequences` go away with what they are because of, and count for nothing: an exception of the cause, or a host
    that is silent, says it all.
    """

    findings: tuple[Finding, ...]
    excepted: tuple[tuple[Finding, DeclaredException], ...]
    consequences: tuple[Consequence, ...] = ()

    def consequences_of(self, cause: str) -> tuple[Consequence, ...]:
        """The consequences of the finding with the id `cause`, or of the silent host of that name."""
        return tuple(consequence for consequence in self.consequences if consequence.because_of == cause)


def apply_exceptions(
    findings: Sequence[Finding], exceptions: Sequence[DeclaredException], today: date, silent: Iterable[str] = ()
) -> DriftReport:
    """An expired exception covers nothing, and is a finding itself. `silent`: hosts that could not be looked at."""
    folded = fold(findings, silent)
    valid = [exception for exception in exceptions if exception.expired(today) is None]
    counting: list[Finding] = [expired for exception in exceptions if (expired := exception.expired(today)) is not None]
    excepted = []
    for finding in folded.causes:
        cover = next((exception for exception in valid if exception.covers(finding)), None)
        if cover is None:
            counting.append(finding)
        else:
            excepted.append((finding, cover))
    return DriftReport(
        tuple(sorted(counting, key=lambda entry: (entry.host, entry.code, entry.subject))),
        tuple(excepted),
        folded.consequences,
    )
