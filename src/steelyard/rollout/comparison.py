"""Whether a new version does as well as the old one, from what engines and gateways counted in the same minutes.
Pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from steelyard_host.wire.services import EngineCounters

ENOUGH = 5  # answers, below which a mean says nothing
ROOM_S = 0.05  # so much slower is noise, whatever it is in per cent
MORE_ERRORS = 0.01  # of a hundred answers, one more may fail


@dataclass(frozen=True)
class Figures:
    """Figures of one side over a while. Seconds are means; None where there were too few answers to tell."""

    first_token_s: float | None
    token_s: float | None
    answers: int
    errors: int

    @property
    def error_rate(self) -> float:
        """Share of the answers that failed; 0 where there were none."""
        whole = self.answers + self.errors
        return self.errors / whole if whole else 0.0


def figures(deltas: Iterable[EngineCounters], answers: int, errors: int) -> Figures:
    """The figures of a side. `deltas`: how much the counters of each of its engines grew."""
    total = EngineCounters(*(sum(values) for values in zip(*deltas, strict=True)))
    return Figures(
        _mean(total.time_to_first_token_seconds_sum, total.time_to_first_token_seconds_count),
        _mean(total.inter_token_latency_seconds_sum, total.inter_token_latency_seconds_count),
        answers,
        errors,
    )


def _mean(sum_s: float, count: float) -> float | None:
    return sum_s / count if count >= ENOUGH else None


def grown(before: EngineCounters, after: EngineCounters) -> EngineCounters:
    """Return the growth of counters; they begin at zero where an engine was started between."""
    anew = any(new < old for old, new in zip(before, after, strict=True))
    return after if anew else EngineCounters(*(new - old for old, new in zip(before, after, strict=True)))


def why_worse(new: Figures, old: Figures, slower: float) -> str | None:
    """A sentence with the numbers where the new version is worse than may be; None where it is not, or nobody can
    tell.
    """
    for what, mine, theirs in (
        ("a first token", new.first_token_s, old.first_token_s),
        ("a further token", new.token_s, old.token_s),
    ):
        if mine is not None and theirs is not None and mine > theirs * slower + ROOM_S:
            return f"{what} took {mine:.3f} s, and {theirs:.3f} s with the old version: more than {slower:g} times"
    if new.errors and new.error_rate > old.error_rate + MORE_ERRORS:
        return (
            f"{new.errors} of {new.answers + new.errors} answers failed, and {old.errors} of "
            f"{old.answers + old.errors} of the old version"
        )
    return None


def canary_weight(share: float, others: Iterable[int]) -> int:
    """Weight that gives a server this share of what it and the others get; HAProxy's go from 0 to 256, and 0 is
    nothing.
    """
    return max(1, min(256, math.ceil(share * sum(others) / (1 - share))))
