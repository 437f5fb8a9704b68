"""`drift-exceptions.yml`: findings that somebody has accepted, why, and until when.

    - id: "gpu-3:vllm:*"          # a pattern over `host:role:subject`
      reason: waiting for a new fan
      owner: anna
      expires: 2026-12-31

The pydantic model is validator and reference page at once. An entry that has expired is a finding.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from steelyard.api.file_syntax import read_yaml_nodes
from steelyard.api.finding import Finding, Severity, Verdict
from steelyard.errors import ExceptionWrong, nearest_key

FILE = "drift-exceptions.yml"


class DriftException(BaseModel):
    """One accepted difference."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    id: str = Field(
        min_length=1, description="Pattern over finding ids, `host:role:subject`; `*`, `?` and `[…]` as in a shell."
    )
    reason: str = Field(min_length=1, description="Why it is accepted.")
    owner: str = Field(min_length=1, description="Who answers for it.")
    expires: date = Field(description="Last day on which it holds, `2026-12-31`.")


@dataclass(frozen=True)
class DeclaredException:
    """An exception and the line it is declared in."""

    entry: DriftException
    where: str

    def covers(self, finding: Finding) -> bool:
        """True for a finding whose id the pattern matches."""
        return fnmatchcase(finding.id, self.entry.id)

    def as_json(self) -> dict[str, str]:
        """The exception's object in documents, with the line it is declared in."""
        return {"where": self.where, **{name: str(value) for name, value in self.entry.model_dump().items()}}

    def expired(self, today: date) -> Finding | None:
        """A finding of its own, once its last day is over."""
        if today <= self.entry.expires:
            return None
        owner, reason = self.entry.owner, self.entry.reason
        return Finding(
            "controller",
            "exceptions.expired",
            self.entry.id,
            f"an exception of {owner} until {self.entry.expires}: {reason}",
            "expired",
            f"mend what it covers, or ask {owner} for a new date in {self.where}",
            Verdict.EXPIRED,
            Severity.WARNING,
        )


def read_exceptions(path: Path) -> tuple[DeclaredException, ...]:
    """Entries of the file; none where there is no file. Raises FileSyntaxWrong and ExceptionWrong, at the line."""
    try:
        root, entries = read_yaml_nodes(path)
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise ExceptionWrong(where=str(path), why=error.strerror or str(error)) from error
    if entries is None:
        return ()
    if not isinstance(entries, list) or not isinstance(root, yaml.SequenceNode):
        raise ExceptionWrong(where=f"{path}:1", why="it is a list of entries, and this is none")
    lines = [node.start_mark.line + 1 for node in root.value]
    return tuple(_entry(entry, f"{path}:{line}") for entry, line in zip(entries, lines, strict=True))


def _entry(entry: Any, where: str) -> DeclaredException:
    try:
        return DeclaredException(DriftException.model_validate(entry), where)
    except ValidationError as failure:
        detail = failure.errors(include_url=False)[0]
        key = ".".join(map(str, detail["loc"])) or "the entry"
        known = list(DriftException.model_fields)
        if detail["type"] == "extra_forbidden":
            why = (
                f"`{key}` is no key of an exception; did you mean `{nearest_key(key, known)}`? allowed: "
                f"{', '.join(known)}"
            )
        elif detail["type"] == "missing":
            why = f"`{key}` is missing"
        else:
            why = (
                f"`{key}` is `{detail['input']}`; allowed: {DriftException.model_fields[key].description}"
                if key in known
                else "not an entry"
            )
        raise ExceptionWrong(where=where, why=why) from failure
