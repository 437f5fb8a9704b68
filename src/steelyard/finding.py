"""One difference or one problem, with what to do about it. CI suppresses, counts and links by `id`."""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import NamedTuple


class Verdict(StrEnum):
    """DIFFERS: apply mends it. BROKEN: somebody has to look. UNKNOWN: could not be looked at. EXPIRED: an exception has."""

    DIFFERS = "differs"
    BROKEN = "broken"
    UNKNOWN = "unknown"
    EXPIRED = "expired"


class Severity(StrEnum):
    """ERROR: what runs is not what is declared. WARNING: it is, or nobody can say; and somebody should look."""

    ERROR = "error"
    WARNING = "warning"


class Finding(NamedTuple):
    """Sorts by host, then code. `declared` and `live` are safe to print: a secret is "set" or "not set"."""

    host: str
    code: str  # dotted, `role.task`
    subject: str  # the thing on the host: a path, a unit, a GPU
    declared: str
    live: str
    fix: str
    verdict: Verdict = Verdict.DIFFERS
    severity: Severity = Severity.ERROR
    since: str | None = None  # when this controller first saw it, UTC; None: now

    @property
    def id(self) -> str:
        """`host:role:subject`: stable across edits of the deploy, renamed and reordered tasks too."""
        return f"{self.host}:{self.code.split('.')[0]}:{self.subject}"

    @property
    def fingerprint(self) -> str:
        """The id as 16 hexadecimal digits, for formats that want one word."""
        return hashlib.sha256(self.id.encode()).hexdigest()[:16]

    def as_json(self) -> dict[str, str | None]:
        return {
            "id": self.id,
            **self._asdict(),
            "verdict": str(self.verdict),
            "severity": str(self.severity),
            "fingerprint": self.fingerprint,
        }
