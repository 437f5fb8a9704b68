"""An operation says no with a command: this host fails with the reason, no other does."""

from __future__ import annotations

from pyinfra.api.command import QuoteString, StringCommand

# Attribute of pyinfra's host under which a controller-side call leaves the error that failed it.
FAILED_BY = "steelyard_error"


class Refusal(StringCommand):
    """Fails this host, and no other, with `reason` on stderr. A plan lists it as a finding, not a change."""

    def __init__(self, reason: str) -> None:
        super().__init__("echo", QuoteString(reason), ">&2; exit 1")
        self.reason = reason
