"""Judges what a host's store says of a version (the helper's `store-state`). Pure."""

from __future__ import annotations

from steelyard.models.content.manifest import Manifest
from steelyard_host.wire.store import VersionState

ROOM_LEFT = 64 << 20  # bytes a host keeps free besides the version


def bytes_to_send(manifest: Manifest, stored: VersionState) -> int:
    """The bytes that a push sends at most: files that the host has in no version, less what a try before left.

    Equal chunks of other versions come off there.
    """
    held = set(stored.held)
    lacking = sum(file.size for file in manifest.files.values() if file.blake3 not in held)
    return max(0, lacking - stored.staged_bytes)


def in_place(manifest: Manifest, stored: VersionState) -> bool:
    """Whether the host has exactly this version, and nobody changed it."""
    return stored.published == manifest.id and not stored.altered


def refusal(manifest: Manifest, stored: VersionState, target: str, copied: bool = True) -> str | None:
    """The reason not to bring the version there, or None; nothing was copied. A shared one needs no room."""
    if stored.unrecorded:
        return f"{target} is there and was not published by steelyard; move it away or declare another version name"
    if stored.published not in (None, manifest.id):
        return f"{target} holds other files than its source: versions do not change, declare a new version name"
    size = bytes_to_send(manifest, stored) + ROOM_LEFT
    if copied and size > stored.free_bytes and not in_place(manifest, stored):
        need, free = size / 2**30, stored.free_bytes / 2**30
        return f"{target}: {need:.1f} GiB needed, {free:.1f} GiB free; make room, nothing was copied"
    return None
