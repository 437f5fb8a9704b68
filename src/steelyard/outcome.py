"""How a host came out of a run."""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    """Unreachable, failed, skipped and unknown are four things."""

    IN_SYNC = "in sync"
    CHANGES = "changes"  # it would change, or did
    UNKNOWN = "unknown"  # nothing differs as far as can be known, and something cannot be
    UNREACHABLE = "unreachable"  # it could not be logged in to
    FAILED = "failed"  # it was reached, and a question or a task failed
    SKIPPED = "skipped"  # it was not tried, or not to the end, because too many others failed
