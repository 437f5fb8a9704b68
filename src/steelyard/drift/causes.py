"""Findings that are consequences of others: a dead proxy is told once, at its host, and not by everybody who misses it.

A finding names the things that it depends on, and a check that knows a cause the things that it explains; whoever looks
at one host need not know what others find. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from steelyard.api.finding import Finding, thing


class Consequence(NamedTuple):
    """A finding that goes away with its cause. `because_of`: the cause's id, or the name of a host that is silent."""

    finding: Finding
    because_of: str

    def as_json(self) -> dict[str, str | None]:
        """The finding's object in documents, with its cause."""
        return {**self.finding.as_json(), "because_of": self.because_of}


class Folded(NamedTuple):
    """Findings that are causes, or stand alone, and the consequences of them, both in the order that they came in."""

    causes: tuple[Finding, ...]
    consequences: tuple[Consequence, ...]


def fold(findings: Sequence[Finding], silent: Iterable[str] = ()) -> Folded:
    """Tell causes from consequences. `silent`: hosts that could not be looked at, which are causes by themselves.

    Of several causes the one that is named first counts; of findings that name each other, whichever comes first.
    """
    wrong: dict[str, Finding | str] = {}
    for finding in findings:
        wrong.setdefault(finding.thing, finding)
    wrong.update({thing(host): host for host in silent})
    explained = {named: finding for finding in reversed(findings) for named in finding.explains}
    causes, consequences = [], []
    for finding in findings:
        cause = _cause(finding, wrong, explained)
        if cause is None:
            causes.append(finding)
        else:
            consequences.append(Consequence(finding, cause))
    return Folded(tuple(causes), tuple(consequences))


def _cause(finding: Finding, wrong: dict[str, Finding | str], explained: dict[str, Finding]) -> str | None:
    """The id of the finding at the bottom of this one, or the host; None where it is one itself."""
    seen = [finding]
    while True:
        following = _next(seen[-1], wrong, explained)
        if isinstance(following, str):
            return following
        if following is None:
            return seen[-1].id if len(seen) > 1 else None
        if following in seen:  # they name each other: the first of the circle, by host and code, is told
            circle = min(seen[seen.index(following) :])
            return circle.id if circle is not finding else None
        seen.append(following)


def _next(finding: Finding, wrong: dict[str, Finding | str], explained: dict[str, Finding]) -> Finding | str | None:
    explanation = explained.get(finding.thing)
    if explanation is not None and explanation is not finding:
        return explanation
    others = (wrong[name] for name in finding.depends_on if name in wrong)
    return next((other for other in others if other is not finding), None)
