"""What a version consists of, as one canonical document whose id is its hash.

docs/reference/schemas/manifest.schema.json is its schema. Hosts hold every byte against the chunks' blake3; sha256 is what
sources and registries speak of.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from steelyard_host.hashing import blake3, digest

from .cuts import Tensor, chunk_size, cuts, tensors_of

FORMAT = 1
BLOCK = 8 << 20  # bytes that are hashed in one go, in every way


@dataclass(frozen=True)
class Chunk:
    """Bytes of a file that travel, and are verified, together."""

    offset: int
    size: int
    blake3: str


@dataclass(frozen=True)
class File:
    """A file of a version; sizes are bytes."""

    size: int
    sha256: str
    blake3: str
    chunks: tuple[Chunk, ...]

    def as_json(self) -> dict[str, Any]:
        chunks = [[chunk.size, chunk.blake3] for chunk in self.chunks]
        return {"size": self.size, "sha256": self.sha256, "blake3": self.blake3, "chunks": chunks}

    @classmethod
    def of_json(cls, found: dict[str, Any]) -> File:
        chunks, at = [], 0
        for size, name in found["chunks"]:
            chunks.append(Chunk(at, size, name))
            at += size
        return cls(found["size"], found["sha256"], found["blake3"], tuple(chunks))


@dataclass(frozen=True)
class Manifest:
    """A version's files, and per file its tensors with the hash of each; `id` is the hash of the canonical form."""

    id: str
    files: dict[str, File]
    tensors: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files.values())

    def as_json(self) -> dict[str, Any]:
        return {"id": self.id, **_content(self.files, self.tensors)}

    @classmethod
    def of(cls, files: dict[str, File], tensors: dict[str, dict[str, Any]]) -> Manifest:
        canonical = json.dumps(_content(files, tensors), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return cls(digest(canonical.encode()), files, tensors)


def _content(files: dict[str, File], tensors: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {"format": FORMAT, "files": {name: file.as_json() for name, file in files.items()}, "tensors": tensors}


def chunk_size_of(paths: Iterable[Path]) -> int:
    """For all files of a version: it depends on their sizes together."""
    return chunk_size(sum(path.stat().st_size for path in paths))


def read_file(path: Path, chunk: int) -> tuple[File, list[Tensor]]:
    """Hash a file, each byte once off the disk. Raises HeaderWrong, OSError."""
    tensors = tensors_of(path) if path.suffix == ".safetensors" else []
    size = path.stat().st_size
    lengths = cuts(size, tensors, chunk)
    whole, other = hashlib.sha256(), blake3()()
    chunks: list[Chunk] = []
    with path.open("rb", buffering=0) as stream, ThreadPoolExecutor(2) as pool:
        for first, numbers in _blocks(lengths):
            block = _read(stream, sum(numbers), path)
            waiting = [pool.submit(whole.update, block), pool.submit(other.update, block)]
            chunks += _hashed(memoryview(block), first, numbers)
            for each in waiting:
                each.result()
    return File(size, whole.hexdigest(), other.hexdigest(), tuple(chunks)), tensors


def _read(stream: io.FileIO, size: int, path: Path) -> bytearray:
    block = bytearray(size)
    at = 0
    while at < size:
        count = stream.readinto(memoryview(block)[at:])
        if not count:
            raise OSError(f"{path} became shorter while it was read")
        at += count
    return block


def _hashed(block: memoryview, first: int, lengths: list[int]) -> list[Chunk]:
    found, at = [], 0
    for length in lengths:
        found.append(Chunk(first + at, length, digest(block[at : at + length])))
        at += length
    return found


def _blocks(lengths: list[int]) -> list[tuple[int, list[int]]]:
    """Chunks in groups of about a block: offset of the first, lengths."""
    found: list[tuple[int, list[int]]] = []
    at, size = 0, 0
    for length in lengths:
        if not found or size + length > BLOCK:
            found.append((at, []))
            size = 0
        found[-1][1].append(length)
        at, size = at + length, size + length
    return found


def tensor_hashes(file: File, tensors: list[Tensor]) -> dict[str, dict[str, Any]]:
    """Each tensor's type, shape, place, and a hash over the hashes of its chunks; equal ones have the same bytes."""
    found, number = {}, 0
    for tensor in tensors:
        while number < len(file.chunks) and file.chunks[number].offset < tensor.start:
            number += 1
        parts = []
        while number < len(file.chunks) and file.chunks[number].offset < tensor.end:
            parts.append(file.chunks[number].blake3)
            number += 1
        found[tensor.name] = {
            "dtype": tensor.dtype, "shape": list(tensor.shape), "offset": tensor.start,
            "size": tensor.end - tensor.start, "blake3": digest("".join(parts).encode()),
        }  # fmt: skip
    return found
