"""What a host's store says of a version (the helper's `store-state`), judged. Pure."""

from __future__ import annotations

from typing import Any

from .manifest import Manifest

ROOM_LEFT = 64 << 20  # bytes a host keeps free besides the version


def bytes_to_send(manifest: Manifest, now: dict[str, Any]) -> int:
    """At most so many: files that the host has in no version, less what a try before left; equal chunks come off there."""
    held = set(now["held"])
    return max(0, sum(file.size for file in manifest.files.values() if file.blake3 not in held) - int(now["staged_bytes"]))


def in_place(manifest: Manifest, now: dict[str, Any]) -> bool:
    return now["published"] == manifest.id and not now["altered"]


def refusal(manifest: Manifest, now: dict[str, Any], target: str, copied: bool = True) -> str | None:
    """Why the version must not, or cannot, be brought there; nothing was copied. A shared one needs no room."""
    if now["unrecorded"]:
        return f"{target} is there and was not published by steelyard; move it away or declare another version name"
    if now["published"] not in (None, manifest.id):
        return f"{target} holds other files than its source: versions do not change, declare a new version name"
    size = bytes_to_send(manifest, now) + ROOM_LEFT
    if copied and size > now["free_bytes"] and not in_place(manifest, now):
        need, free = size / 2**30, now["free_bytes"] / 2**30
        return f"{target}: {need:.1f} GiB needed, {free:.1f} GiB free; make room, nothing was copied"
    return None
