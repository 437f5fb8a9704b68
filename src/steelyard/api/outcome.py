"""Outcomes of a run, per host."""

from __future__ import annotations

from enum import StrEnum

from steelyard.errors import HostKeyChanged, HostKeyUnknown, HostUnreachable, SteelyardError


class HostOutcome(StrEnum):
    """End of one host's run. Unreachable, failed, skipped and unknown are four things."""

    IN_SYNC = "in sync"
    CHANGES = "changes"  # it would change, or did
    UNKNOWN = "unknown"  # nothing differs as far as can be known, and something cannot be
    UNREACHABLE = "unreachable"  # it could not be logged in to
    FAILED = "failed"  # it was reached, and a question or a task failed
    SKIPPED = "skipped"  # it was not tried, or not to the end, because too many others failed


def is_unreachable(error: SteelyardError) -> bool:
    """Tell whether a host could not even be logged in to."""
    return isinstance(error, HostUnreachable | HostKeyChanged | HostKeyUnknown)


def outcome_of(error: SteelyardError) -> HostOutcome:
    """The outcome of a host with this error."""
    return HostOutcome.UNREACHABLE if is_unreachable(error) else HostOutcome.FAILED
