"""Leases: somebody needs a version for a while, and says so where it lies. Removal passes over what is leased.

A lease is a file named by its holder; it ends by itself at a time, so who forgets it blocks nothing for ever.
"""

from __future__ import annotations

import json
import os
import time
import urllib.parse
from pathlib import Path
from typing import Any

from steelyard_host.store import STATE, StoreError, quoted, read_record, record_path

LONGEST_S = 366 * 24 * 3600


def _folder(root: Path, project: str, version: str) -> Path:
    return root / STATE / "leases" / quoted(project, version)


def of(root: Path, project: str, version: str, now: float | None = None) -> list[dict[str, Any]]:
    """Who keeps a version, why, and until when (seconds since 1970); those that are over are left out."""
    now = time.time() if now is None else now
    found = [read_record(path) for path in sorted(_folder(root, project, version).glob("*.json"))]
    return [lease for lease in found if {"who", "why", "until"} <= lease.keys() and float(lease["until"]) > now]


def take(root: Path, project: str, version: str, who: str, seconds: float, why: str) -> dict[str, Any]:
    """Keep a published version for so long; a second lease of the same holder replaces his first. Raises StoreError."""
    if not record_path(root, project, version).exists():
        raise StoreError("%s %s is not published here" % (project, version))
    lease = {"who": who, "why": why, "until": time.time() + min(max(seconds, 0.0), LONGEST_S)}
    folder = _folder(root, project, version)
    path = folder / (urllib.parse.quote(who, safe="") + ".json")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(".new")
        new.write_text(json.dumps(lease))
        os.replace(new, path)
    except OSError as error:
        raise StoreError("%s: %s" % (path, error.strerror)) from error
    return lease


def release(root: Path, project: str, version: str, who: str) -> dict[str, Any]:
    """The holder needs it no more; one that he never took is released too."""
    (_folder(root, project, version) / (urllib.parse.quote(who, safe="") + ".json")).unlink(missing_ok=True)
    return {"leases": of(root, project, version)}
