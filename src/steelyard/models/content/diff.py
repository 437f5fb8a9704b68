"""The difference of two versions by tensor and file, and what a host that has one lacks of the other. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from .manifest import Manifest, ManifestTensor


@dataclass(frozen=True)
class ManifestDiff:
    """Names, sorted. `reshaped` tensors have another type or shape; `send_bytes` is what a push sends at most."""

    equal: int
    changed: list[str] = field(default_factory=list)
    reshaped: list[str] = field(default_factory=list)
    added: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    files_changed: list[str] = field(default_factory=list)
    bytes: int = 0
    send_bytes: int = 0
    in_place: bool = False  # same tensors with the same shapes: an engine could take the new weights without a restart


def diff_of(first: Manifest, second: Manifest) -> ManifestDiff:
    """The difference from the first to the second. Files other than safetensors are compared as files."""
    before, after = _tensors(first), _tensors(second)
    both = sorted(before.keys() & after.keys())
    reshaped = [name for name in both if before[name].form != after[name].form]
    changed = [name for name in both if name not in set(reshaped) and before[name].blake3 != after[name].blake3]
    added, removed = sorted(after.keys() - before.keys()), sorted(before.keys() - after.keys())
    others = [
        name for name in {**first.files, **second.files} if name not in first.tensors and name not in second.tensors
    ]
    held = {chunk.blake3 for file in first.files.values() for chunk in file.chunks}
    files_held = {file.blake3 for file in first.files.values()}
    lacking = (
        chunk.size
        for file in second.files.values()
        if file.blake3 not in files_held
        for chunk in file.chunks
        if chunk.blake3 not in held
    )
    return ManifestDiff(
        equal=len(both) - len(reshaped) - len(changed),
        changed=changed,
        reshaped=reshaped,
        added=added,
        removed=removed,
        files_changed=sorted(name for name in others if _hash(first, name) != _hash(second, name)),
        bytes=second.size,
        send_bytes=sum(lacking),
        in_place=bool(after) and not (reshaped or added or removed),
    )


def _tensors(manifest: Manifest) -> dict[str, ManifestTensor]:
    return {name: tensor for of_file in manifest.tensors.values() for name, tensor in of_file.items()}


def _hash(manifest: Manifest, name: str) -> str | None:
    file = manifest.files.get(name)
    return file.blake3 if file else None
