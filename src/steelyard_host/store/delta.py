"""Chunks as what changed since a version that both sides have: for slow links, where a full fine-tune moved every
weight a little.

Equal tensors are never sent; this is for those that have the same name, type and shape and other bytes. Their
difference by XOR is mostly zeros in the high bytes, so bytes of one significance are put beside each other and packed
(docs/design/model-store.md). What is unpacked is held against the chunk's own hash like any other: a delta can cost
time, never truth.
"""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import NamedTuple

from steelyard_host.store.layout import ManifestDocument

FLAG = 0x40000000  # of a frame's number: its body is a delta
WORTH = 0.9  # of the plain size; else it goes as it is
WIDTH = {"F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "BF16": 2, "F16": 2, "I16": 2, "U16": 2}


class TensorPlace(NamedTuple):
    """The place of a chunk's bytes in a version's base. `width`: bytes of a number there."""

    file: str
    offset: int
    width: int


class Delta:
    """Packs and unpacks chunks of a version (`manifest`) as the difference to its `base`, which lies in `folder`."""

    def __init__(self, manifest: ManifestDocument, base: ManifestDocument, folder: Path) -> None:
        self.base, self.folder = base.id, folder
        self._places = _same_places(manifest, base)

    def __contains__(self, number: int) -> bool:
        return number in self._places

    def encode(self, number: int, data: bytes) -> bytes | None:
        """The chunk as a delta; None where it would not be worth it, or the base has no such tensor."""
        before = self._read(number, len(data))
        if before is None:
            return None
        packed = zlib.compress(_split(_xor(data, before), self._places[number].width), 1)
        return packed if len(packed) < WORTH * len(data) else None

    def decode(self, number: int, body: bytes, size: int) -> bytes:
        """The chunk out of its delta; other bytes where that is not of this base, none where it is no delta at all."""
        before = self._read(number, size)
        if before is None:
            return b""
        try:
            unpacking = zlib.decompressobj()
            data = unpacking.decompress(body, size)
        except zlib.error:
            return b""
        return _xor(_join(data, self._places[number].width), before) if len(data) == size else b""

    def _read(self, number: int, size: int) -> bytes | None:
        if number not in self._places:
            return None
        place = self._places[number]
        try:
            with (self.folder / place.file).open("rb", buffering=0) as stream:
                data = os.pread(stream.fileno(), size, place.offset)
        except OSError:
            return None
        return data if len(data) == size else None


def _same_places(manifest: ManifestDocument, base: ManifestDocument) -> dict[int, TensorPlace]:
    """Places in the base by the chunk's number, for chunks inside of a tensor that the base has in the same kind."""
    before = {name: (file, entry) for file, entries in base.tensors.items() for name, entry in entries.items()}
    places: dict[int, TensorPlace] = {}
    tensors = {
        file: sorted(
            (
                (entry["offset"], entry["offset"] + entry["size"], name)
                for name, entry in entries.items()
                if entry["size"]
            )
        )
        for file, entries in manifest.tensors.items()
    }
    position = dict.fromkeys(tensors, 0)
    for chunk in manifest.chunks():
        spans = tensors.get(chunk.file, [])
        while position.get(chunk.file, 0) < len(spans) and spans[position[chunk.file]][1] <= chunk.offset:
            position[chunk.file] += 1
        if not spans or position[chunk.file] >= len(spans):
            continue
        start, end, name = spans[position[chunk.file]]
        entry = manifest.tensors[chunk.file][name]
        other = before.get(name)
        inside = start <= chunk.offset and chunk.offset + chunk.size <= end
        if inside and other is not None and (other[1]["dtype"], other[1]["shape"]) == (entry["dtype"], entry["shape"]):
            offset = other[1]["offset"] + chunk.offset - start
            places[chunk.number] = TensorPlace(other[0], offset, WIDTH.get(entry["dtype"], 1))
    return places


def _xor(one: bytes, other: bytes) -> bytes:
    return (int.from_bytes(one, "little") ^ int.from_bytes(other, "little")).to_bytes(len(one), "little")


def _split(data: bytes, width: int) -> bytes:
    """Bytes of one significance beside each other."""
    return b"".join(data[at::width] for at in range(width)) if width > 1 else data


def _join(data: bytes, width: int) -> bytes:
    if width == 1:
        return data
    joined, at = bytearray(len(data)), 0
    for place in range(width):
        count = len(range(place, len(data), width))
        joined[place::width] = data[at : at + count]
        at += count
    return bytes(joined)
