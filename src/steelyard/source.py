"""Where weights come from, as the controller sees it: a folder becomes a manifest, its hashes are computed once.

Pickle weights are refused, links that leave the folder too, and every safetensors header is checked before its bytes
travel. The hashes are kept in the cache under path, size and mtime, so a second plan reads nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from dataclasses import dataclass
from pathlib import Path

from steelyard.cache import cache_folder
from steelyard.errors import SourceMissing, SourceRefused
from steelyard_host.wheels import sha256_file

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib")
HEADER_LIMIT = 100_000_000  # bytes; the safetensors format's own limit


@dataclass(frozen=True)
class Manifest:
    """A version's files with size (bytes) and sha256; `id` is the hash of its canonical form."""

    id: str
    files: dict[str, dict[str, int | str]]


def read_manifest(model: str, source: str, where: str) -> Manifest:
    """The manifest of `file:///folder`. Raises SourceMissing, SourceRefused. Reads new or changed files whole, once."""
    folder = Path(source.removeprefix("file://"))
    if not folder.is_dir():
        raise SourceMissing(where=where, model=model, source=str(folder))
    files: dict[str, dict[str, int | str]] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_dir() or any(part.startswith(".") for part in Path(name).parts):
            continue
        _refuse(model, folder, path, name)
        files[name] = {"size": path.stat().st_size, "sha256": kept_hash(path)}
    if not files:
        raise SourceMissing(where=where, model=model, source=f"{folder} (empty)")
    canonical = json.dumps({"files": files}, sort_keys=True, separators=(",", ":"))
    return Manifest(hashlib.sha256(canonical.encode()).hexdigest(), files)


def _refuse(model: str, folder: Path, path: Path, name: str) -> None:
    why = None
    if not path.resolve().is_relative_to(folder.resolve()) and not path.resolve().is_file():
        why = "a broken link"
    elif path.suffix.lower() in PICKLES:
        why = "pickle weights"
    elif path.suffix == ".safetensors":
        why = header_problem(path)
    if why is not None:
        raise SourceRefused(where=str(folder), model=model, file=name, why=why)


def header_problem(path: Path) -> str | None:
    """What is wrong with a safetensors header, or None: length, JSON, offsets in order, within the file, no gaps."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        first = stream.read(8)
        if len(first) < 8:
            return "shorter than a safetensors header"
        length = struct.unpack("<Q", first)[0]
        if length > min(HEADER_LIMIT, size - 8):
            return f"its header claims {length} bytes"
        try:
            header = json.loads(stream.read(length))
        except ValueError:
            return "its header is not JSON"
    if not isinstance(header, dict):
        return "its header is not an object"
    try:
        spans = sorted(tuple(entry["data_offsets"]) for name, entry in header.items() if name != "__metadata__")
    except (KeyError, TypeError):
        return "a tensor has no offsets"
    at = 0
    for span in spans:
        if len(span) != 2 or not all(isinstance(edge, int) for edge in span) or span[0] != at or span[1] < span[0]:
            return f"its tensors overlap or leave gaps at byte {at}"
        at = span[1]
    return None if at == size - 8 - length else f"its tensors end at byte {at}, the file does not"


def kept_hash(path: Path) -> str:
    """sha256 of a file; from the cache where path, size and mtime are those it was computed for."""
    found = path.stat()
    key = f"{path.resolve()}\0{found.st_size}\0{found.st_mtime_ns}"
    kept = cache_folder() / "hashes" / hashlib.sha256(key.encode()).hexdigest()
    try:
        known = kept.read_text()
        if len(known) == 64:
            return known
    except OSError:
        pass
    digest = sha256_file(path)
    try:
        kept.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        staged = kept.with_suffix(f".{os.getpid()}")
        staged.write_text(digest)
        staged.rename(kept)
    except OSError:
        pass  # the next run hashes again
    return digest
