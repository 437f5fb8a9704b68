"""Manifests of versions whose source was once read on this machine: what a host says of one is held against them.

A host that was taken over could hand on files of its own under the name of a version; the id of the manifest that this
machine computed from the source itself tells them apart, also after the source is gone.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from steelyard.dirs import state_folder, write_private


def _path(project: str, version: str, source: str) -> Path:
    name = hashlib.sha256("\0".join((project, version, source)).encode()).hexdigest()[:32]
    return state_folder() / "manifests" / name


def remember_manifest(project: str, version: str, source: str, manifest_id: str) -> None:
    """Keep the id that was computed from the source. Raises OSError."""
    if known_manifest(project, version, source) != manifest_id:
        write_private(_path(project, version, source), manifest_id.encode())


def known_manifest(project: str, version: str, source: str) -> str | None:
    """The id that was computed from the source here; None where it never was."""
    try:
        return _path(project, version, source).read_text()
    except OSError:
        return None
