"""One difference or one problem, with what to do about it. CI suppresses, counts and links by `id`."""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import NamedTuple


class Verdict(StrEnum):
    """The kind of a finding.

    DIFFERS: apply mends it. BROKEN: somebody has to look. UNKNOWN: nobody could look. EXPIRED: an exception ended.
    """

    DIFFERS = "differs"
    BROKEN = "broken"
    UNKNOWN = "unknown"
    EXPIRED = "expired"


class Severity(StrEnum):
    """The weight of a finding.

    ERROR: what runs is not what is declared. WARNING: it is, or nobody can say, and somebody should look.
    """

    ERROR = "error"
    WARNING = "warning"


def thing(host: str, subject: str = "") -> str:
    """The name of one thing on one host, as findings speak of what they depend on; without a subject the host itself.

    >>> thing("gpu-1", "steelyard-front.service")
    'gpu-1:steelyard-front.service'
    """
    return f"{host}:{subject}"


class Finding(NamedTuple):
    """One finding; findings sort by host, then code.

    `declared` and `live` are safe to print: a secret is "set" or "not set". Things by `thing`: where one of
    `depends_on` is wrong, this finding is its consequence; findings of the things that it `explains` are consequences
    of this one.
    """

    host: str
    code: str  # dotted, `role.task`
    subject: str  # the thing on the host: a path, a unit, a GPU
    declared: str
    live: str
    fix: str
    verdict: Verdict = Verdict.DIFFERS
    severity: Severity = Severity.ERROR
    since: str | None = None  # when this controller first saw it, UTC; None: now
    depends_on: tuple[str, ...] = ()
    explains: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """The stable name of a finding, `host:role:subject`: it outlives edits of the deploy, renamed and reordered
        tasks too.
        """
        return f"{self.host}:{self.code.split('.')[0]}:{self.subject}"

    @property
    def thing(self) -> str:
        """The thing that is wrong, by which others depend on it; several roles may find something about one."""
        return thing(self.host, self.subject)

    @property
    def fingerprint(self) -> str:
        """The id as 16 hexadecimal digits, for formats that want one word."""
        return hashlib.sha256(self.id.encode()).hexdigest()[:16]

    def as_json(self) -> dict[str, str | None]:
        """The finding's object in documents."""
        values = self._asdict()
        del values["depends_on"], values["explains"]  # what comes of them is in the document: `because_of`
        return {
            "id": self.id,
            **values,
            "verdict": str(self.verdict),
            "severity": str(self.severity),
            "fingerprint": self.fingerprint,
        }
