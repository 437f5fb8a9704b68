"""Leases: somebody needs a version for a while, and says so where it lies. Removal passes over what is leased.

A lease is a file named by its holder; it ends by itself at a time, so who forgets it blocks nothing for ever.
"""

from __future__ import annotations

import json
import time
import urllib.parse
from pathlib import Path

from steelyard_host.errors import HelperError
from steelyard_host.store.layout import STATE, quoted, record_path
from steelyard_host.system import json_file
from steelyard_host.wire.store import VersionLease, VersionLeases

LONGEST_S = 366 * 24 * 3600


def _folder(root: Path, project: str, version: str) -> Path:
    return root / STATE / "leases" / quoted(project, version)


def _path(root: Path, project: str, version: str, who: str) -> Path:
    return _folder(root, project, version) / (urllib.parse.quote(who, safe="") + ".json")


def of(root: Path, project: str, version: str, now: float | None = None) -> tuple[VersionLease, ...]:
    """Leases of a version; those that are over by `now`, seconds since 1970, are left out."""
    now = time.time() if now is None else now
    leases = (_read(path) for path in sorted(_folder(root, project, version).glob("*.json")))
    return tuple(lease for lease in leases if lease is not None and lease.until > now)


def _read(path: Path) -> VersionLease | None:
    """A lease, None where it was released meanwhile; one that cannot be read keeps its version as long as any may."""
    try:
        stored = json.loads(path.read_text())
        return VersionLease(stored["who"], stored["why"], float(stored["until"]))
    except FileNotFoundError:
        return None
    except (OSError, KeyError, TypeError, ValueError):
        who = urllib.parse.unquote(path.name[: -len(".json")])
        return VersionLease(who, "its record cannot be read", path.stat().st_mtime + LONGEST_S)


def take(root: Path, project: str, version: str, who: str, seconds: float, why: str) -> VersionLease:
    """Keeps a published version for so long; a second lease of a holder replaces his first. Raises HelperError."""
    if not record_path(root, project, version).exists():
        raise HelperError("%s %s is not published here" % (project, version))
    lease = VersionLease(who, why, time.time() + min(max(seconds, 0.0), LONGEST_S))
    path = _path(root, project, version, who)
    try:
        json_file.write_atomically(path, lease._asdict())
    except OSError as error:
        raise HelperError("%s: %s" % (path, error.strerror)) from error
    return lease


def release(root: Path, project: str, version: str, who: str) -> VersionLeases:
    """Ends a holder's lease, and gives those that stay; one that he never took is released too."""
    _path(root, project, version, who).unlink(missing_ok=True)
    return VersionLeases(of(root, project, version))
