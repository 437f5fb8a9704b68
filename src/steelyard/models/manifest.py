"""What a version consists of, as one document whose id is the hash of its content.

docs/reference/schemas/manifest.schema.json is its schema. Hosts hold every byte against the chunks' blake3; sha256 is what
sources and registries speak of. The id covers files and tensors and nothing else: the same bytes have the same id wherever
they came from. Origin, fit figures and a signature (which speaks of the id) stand beside them.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from steelyard_host.hashing import blake3, content_id, digest

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
class Origin:
    """Where a version came from. `commit` and `licence` are None where the source names none."""

    source: str
    commit: str | None
    licence: str | None


@dataclass(frozen=True)
class Manifest:
    """A version's files, and per file its tensors with the hash of each; `id` is the hash of the canonical form of both.

    `signature` is an armoured SSH signature, see `signing`; `fit` is what `fit.figures` gives.
    """

    id: str
    files: dict[str, File]
    tensors: dict[str, dict[str, Any]] = field(default_factory=dict)
    origin: Origin | None = None
    fit: dict[str, Any] = field(default_factory=dict)
    signature: str | None = None

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files.values())

    def as_json(self) -> dict[str, Any]:
        origin = asdict(self.origin) if self.origin else None
        beside = {"origin": origin, "fit": self.fit, "signature": self.signature}
        return {"id": self.id, **_content(self.files, self.tensors), **beside}

    @classmethod
    def of(
        cls,
        files: dict[str, File],
        tensors: dict[str, dict[str, Any]],
        origin: Origin | None = None,
        fit: dict[str, Any] | None = None,
    ) -> Manifest:
        return cls(content_id(_content(files, tensors)), files, tensors, origin, fit or {})

    @classmethod
    def of_json(cls, found: dict[str, Any]) -> Manifest:
        """As a host keeps it. Raises KeyError, TypeError where it is none; the id is computed, and not believed."""
        files = {name: File.of_json(entry) for name, entry in found["files"].items()}
        origin = Origin(**found["origin"]) if found.get("origin") else None
        made = cls.of(files, found["tensors"], origin, found.get("fit"))
        return replace(made, signature=found.get("signature"))


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
