"""The manifest: what a version consists of, as one document whose id is the hash of its content.

docs/reference/schemas/manifest.schema.json is its schema. Hosts hold every byte against the chunks' blake3; sha256 is
what sources and registries speak of. The id covers files and tensors and nothing else: the same bytes have the same id
wherever they came from. Provenance, footprint and a signature (which speaks of the id) stand beside them.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from steelyard.models.fit.footprint import Footprint
from steelyard_host.store.hashing import blake3, content_id, digest

from .chunking import chunk_lengths, chunk_size
from .safetensors import TensorInfo, tensors_of

FORMAT = 1
BLOCK = 8 << 20  # bytes that are hashed in one go, in every way


@dataclass(frozen=True)
class FileChunk:
    """Bytes of a file that travel, and are verified, together."""

    offset: int
    size: int
    blake3: str


@dataclass(frozen=True)
class ManifestFile:
    """A file of a version; sizes are bytes."""

    size: int
    sha256: str
    blake3: str
    chunks: tuple[FileChunk, ...]

    def as_json(self) -> dict[str, object]:
        """The file's object in a manifest: chunks as pairs of size and hash, in order."""
        chunks = [[chunk.size, chunk.blake3] for chunk in self.chunks]
        return {"size": self.size, "sha256": self.sha256, "blake3": self.blake3, "chunks": chunks}

    @classmethod
    def of_json(cls, document: Mapping[str, Any]) -> ManifestFile:
        """The file of such an object. Raises KeyError, TypeError, ValueError where it is none."""
        chunks, offset = [], 0
        for size, name in document["chunks"]:
            chunks.append(FileChunk(offset, size, name))
            offset += size
        return cls(document["size"], document["sha256"], document["blake3"], tuple(chunks))


class ManifestTensor(NamedTuple):
    """A tensor of a version: its place in its file in bytes, and a hash over the hashes of its chunks."""

    dtype: str
    shape: tuple[int, ...]
    offset: int
    size: int
    blake3: str

    @property
    def form(self) -> tuple[str, tuple[int, ...]]:
        """Type and shape, which an engine that takes new weights in place needs unchanged."""
        return self.dtype, self.shape

    def as_json(self) -> dict[str, object]:
        """The tensor's object in a manifest."""
        return {**self._asdict(), "shape": list(self.shape)}

    @classmethod
    def of_json(cls, document: Mapping[str, Any]) -> ManifestTensor:
        """The tensor of such an object. Raises KeyError, TypeError where it is none."""
        dtype, shape, offset, size, blake3 = (document[name] for name in cls._fields)
        return cls(dtype, tuple(shape), offset, size, blake3)


Tensors = dict[str, dict[str, ManifestTensor]]  # file -> name -> tensor


@dataclass(frozen=True)
class Provenance:
    """The source of a version. `commit` and `licence` are None where the source names none."""

    source: str
    commit: str | None
    licence: str | None


@dataclass(frozen=True)
class Manifest:
    """A version's files, and per file its tensors; `id` is the hash of the canonical form of both.

    `signature` is an armoured SSH signature, see `signing`. Documents call the footprint `fit`, and the provenance
    `origin`.
    """

    id: str
    files: dict[str, ManifestFile]
    tensors: Tensors = field(default_factory=dict)
    origin: Provenance | None = None
    footprint: Footprint | None = None
    signature: str | None = None

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files.values())

    def as_json(self) -> dict[str, object]:
        """The document that hosts keep."""
        origin = asdict(self.origin) if self.origin else None
        fit = self.footprint.as_json() if self.footprint else {}
        beside = {"origin": origin, "fit": fit, "signature": self.signature}
        return {"id": self.id, **_content(self.files, self.tensors), **beside}

    @classmethod
    def of(
        cls,
        files: dict[str, ManifestFile],
        tensors: Tensors,
        origin: Provenance | None = None,
        footprint: Footprint | None = None,
    ) -> Manifest:
        """The manifest of these files and tensors, with its id."""
        return cls(content_id(_content(files, tensors)), files, tensors, origin, footprint)

    @classmethod
    def of_json(cls, document: Mapping[str, Any]) -> Manifest:
        """The manifest that a host keeps. The id is computed, and not believed.

        Raises KeyError, TypeError where it is none.
        """
        files = {name: ManifestFile.of_json(entry) for name, entry in document["files"].items()}
        tensors = {
            file: {name: ManifestTensor.of_json(entry) for name, entry in entries.items()}
            for file, entries in document["tensors"].items()
        }
        origin = Provenance(**document["origin"]) if document.get("origin") else None
        manifest = cls.of(files, tensors, origin, Footprint.of_json(document.get("fit")))
        return replace(manifest, signature=document.get("signature"))


def _content(files: dict[str, ManifestFile], tensors: Tensors) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "files": {name: file.as_json() for name, file in files.items()},
        "tensors": {
            file: {name: tensor.as_json() for name, tensor in of_file.items()} for file, of_file in tensors.items()
        },
    }


def chunk_size_of(paths: Iterable[Path]) -> int:
    """Bytes of a chunk in all files of a version: it depends on their sizes together."""
    return chunk_size(sum(path.stat().st_size for path in paths))


def read_file(
    path: Path, chunk: int, on_read: Callable[[int], None] = lambda count: None
) -> tuple[ManifestFile, list[TensorInfo]]:
    """Hash a file, each byte once off the disk; `on_read` gets the number of bytes of each read.

    Raises HeaderWrong, OSError.
    """
    tensors = tensors_of(path) if path.suffix == ".safetensors" else []
    size = path.stat().st_size
    lengths = chunk_lengths(size, tensors, chunk)
    whole, other = hashlib.sha256(), blake3()()
    chunks: list[FileChunk] = []
    with path.open("rb", buffering=0) as stream, ThreadPoolExecutor(2) as pool:
        for first, numbers in _blocks(lengths):
            block = _read(stream, sum(numbers), path)
            jobs = [pool.submit(whole.update, block), pool.submit(other.update, block)]
            chunks += _hashed(memoryview(block), first, numbers)
            for job in jobs:
                job.result()
            on_read(len(block))
    return ManifestFile(size, whole.hexdigest(), other.hexdigest(), tuple(chunks)), tensors


def _read(stream: io.FileIO, size: int, path: Path) -> bytearray:
    block = bytearray(size)
    at = 0
    while at < size:
        count = stream.readinto(memoryview(block)[at:])
        if not count:
            raise OSError(f"{path} became shorter while it was read")
        at += count
    return block


def _hashed(block: memoryview, first: int, lengths: list[int]) -> list[FileChunk]:
    chunks, at = [], 0
    for length in lengths:
        chunks.append(FileChunk(first + at, length, digest(block[at : at + length])))
        at += length
    return chunks


def _blocks(lengths: list[int]) -> list[tuple[int, list[int]]]:
    """Chunks in groups of about a block: offset of the first, lengths."""
    blocks: list[tuple[int, list[int]]] = []
    at, size = 0, 0
    for length in lengths:
        if not blocks or size + length > BLOCK:
            blocks.append((at, []))
            size = 0
        blocks[-1][1].append(length)
        at, size = at + length, size + length
    return blocks


def tensor_hashes(file: ManifestFile, tensors: list[TensorInfo]) -> dict[str, ManifestTensor]:
    """The file's tensors by name, each with a hash over the hashes of its chunks; equal ones have the same bytes."""
    hashed, number = {}, 0
    for tensor in tensors:
        while number < len(file.chunks) and file.chunks[number].offset < tensor.start:
            number += 1
        parts = []
        while number < len(file.chunks) and file.chunks[number].offset < tensor.end:
            parts.append(file.chunks[number].blake3)
            number += 1
        hashed[tensor.name] = ManifestTensor(
            tensor.dtype, tensor.shape, tensor.start, tensor.end - tensor.start, digest("".join(parts).encode())
        )
    return hashed
