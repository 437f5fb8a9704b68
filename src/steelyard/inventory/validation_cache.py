"""Verdicts that the settings of an inventory are right, kept while neither its files nor the roles' models change.

Checking loads every role with everything it imports. Kept are a verdict and where secrets lie, never a value.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from steelyard.api.advice import Advice
from steelyard.dirs import cache_folder, fleet_key, write_private

from .fleet import Fleet

SecretPath = tuple[str, ...]  # keys that lead to a secret setting, `*` for any name or place
SecretFields = dict[str, tuple[SecretPath, ...]]  # section to where its secrets lie


class Checked(NamedTuple):
    """Result of a check that found nothing wrong: where secrets lie, and what the owner should know all the same."""

    fields: SecretFields
    advice: tuple[Advice, ...] = ()
    complete: bool = True  # nothing is left to be filled in; only such a verdict is kept


Check = Callable[[Fleet], Checked]  # raises what is wrong


def checked(fleet: Fleet, models: tuple[Path, ...], check: Check) -> Checked:
    """Return what `check` answers, which has found nothing wrong with the settings, now or when it was asked."""
    kept = cache_folder() / "checked" / f"{fleet_key(fleet.path)}.json"
    digest = _digest(fleet, models)
    verdict = _load(kept, digest) if digest is not None else None
    if verdict is None:
        verdict = check(fleet)
        if digest is not None and verdict.complete:
            try:
                write_private(
                    kept, json.dumps({"digest": digest, "secrets": verdict.fields, "advice": verdict.advice}).encode()
                )
            except OSError:
                pass
    return verdict


def secrets_in(fleet: Fleet, fields: SecretFields) -> frozenset[str]:
    """Return every secret that the settings hold, in a vault or not."""
    secrets: set[str] = set()
    for host in fleet.hosts:
        for section, paths in fields.items():
            for path in paths:
                secrets.update(_at(host.variables.get(section), path))
    return frozenset(secrets)


def _at(value: Any, path: SecretPath) -> Iterator[str]:
    """Yield what lies at the end of the path; sections and lists are none."""
    if not path:
        if value and not isinstance(value, dict | list):
            yield str(value)
    elif isinstance(value, dict):
        for inner in value.values() if path[0] == "*" else (value.get(path[0]),):
            yield from _at(inner, path[1:])
    elif isinstance(value, list) and path[0] == "*":
        for inner in value:
            yield from _at(inner, path[1:])


def _digest(fleet: Fleet, models: tuple[Path, ...]) -> str | None:
    if fleet.digest is None:
        return None
    whole = hashlib.sha256(fleet.digest.encode())
    try:
        for path in models:
            stat = path.stat()
            whole.update(f"\0{path} {stat.st_size} {stat.st_mtime_ns}".encode())
    except OSError:
        return None
    return whole.hexdigest()


def _load(kept: Path, digest: str) -> Checked | None:
    try:
        stored = json.loads(kept.read_text())
        if stored["digest"] != digest:
            return None
        fields = {str(key): tuple(tuple(path) for path in paths) for key, paths in stored["secrets"].items()}
        return Checked(fields, tuple(Advice(*advice) for advice in stored["advice"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
