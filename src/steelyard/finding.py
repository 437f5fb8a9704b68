"""One difference or one problem, with what to do about it. CI suppresses, counts and links by `code`."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """DIFFERS: apply mends it. BROKEN: somebody has to look. UNKNOWN: could not be looked at."""

    DIFFERS = "differs"
    BROKEN = "broken"
    UNKNOWN = "unknown"


@dataclass(frozen=True, order=True)
class Finding:
    """Sorts by host, then code. `declared` and `live` are safe to print: a secret is "set" or "not set"."""

    host: str
    code: str  # stable and dotted, `role.task`
    subject: str  # the thing on the host: a path, a unit, a GPU
    declared: str
    live: str
    fix: str
    verdict: Verdict = Verdict.DIFFERS

    @property
    def fingerprint(self) -> str:
        """Stable across edits of the deploy: host, code and subject, and nothing else."""
        return hashlib.sha256(f"{self.host}\0{self.code}\0{self.subject}".encode()).hexdigest()[:16]

    def as_json(self) -> dict[str, str]:
        return {**asdict(self), "verdict": str(self.verdict), "fingerprint": self.fingerprint}
