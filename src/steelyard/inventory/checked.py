"""That the settings of an inventory were found right, kept while neither its files nor the roles' models change.

Checking loads every role with everything it imports. Kept are a verdict and where secrets lie, never a value.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from steelyard.cache import cache_folder, fleet_key, write_private

from .fleet import Fleet

SecretFields = dict[str, tuple[str, ...]]  # section to its secret settings
Check = Callable[[Fleet], SecretFields]  # raises what is wrong


def checked(fleet: Fleet, models: tuple[Path, ...], check: Check) -> frozenset[str]:
    """Every secret of the fleet's settings, after `check` has found nothing wrong with them, now or when it was asked."""
    kept = cache_folder() / "checked" / f"{fleet_key(fleet.path)}.json"
    digest = _digest(fleet, models)
    fields = _load(kept, digest) if digest is not None else None
    if fields is None:
        fields = check(fleet)
        if digest is not None:
            try:
                write_private(kept, json.dumps({"digest": digest, "secrets": fields}).encode())
            except OSError:
                pass
    return secrets_in(fleet, fields)


def secrets_in(fleet: Fleet, fields: SecretFields) -> frozenset[str]:
    found: set[str] = set()
    for host in fleet.hosts:
        for section, names in fields.items():
            value = host.variables.get(section)
            for name in names if isinstance(value, dict) else ():
                inner = value.get(name) if isinstance(value, dict) else None
                if inner:
                    found |= {str(item) for item in inner.values()} if isinstance(inner, dict) else {str(inner)}
    return frozenset(found)


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


def _load(kept: Path, digest: str) -> SecretFields | None:
    try:
        found = json.loads(kept.read_text())
        return {str(key): tuple(names) for key, names in found["secrets"].items()} if found["digest"] == digest else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
