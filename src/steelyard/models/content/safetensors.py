"""The header of a safetensors file: which tensors it holds, and where their bytes lie.

A header is checked before its bytes travel: its length, its JSON, and tensors that follow each other without a gap.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path

HEADER_LIMIT = 100_000_000  # bytes; the safetensors format's own limit


@dataclass(frozen=True)
class TensorInfo:
    """A tensor as a safetensors header has it; `start` and `end` count from the file's first byte."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


class HeaderWrong(ValueError):
    """A safetensors header that is wrong; its text follows the file's name."""


def tensors_of(path: Path) -> list[TensorInfo]:
    """Tensors of a file in the order of their bytes.

    Raises HeaderWrong where the length, the JSON or an offset is wrong, or where tensors overlap or leave gaps.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        first = stream.read(8)
        if len(first) < 8:
            raise HeaderWrong("shorter than a safetensors header")
        length: int = struct.unpack("<Q", first)[0]
        if length > min(HEADER_LIMIT, size - 8):
            raise HeaderWrong(f"its header claims {length} bytes")
        try:
            header = json.loads(stream.read(length), object_pairs_hook=_no_name_twice)
        except (ValueError, RecursionError) as error:
            raise HeaderWrong(str(error) if isinstance(error, HeaderWrong) else "its header is not JSON") from error
    if not isinstance(header, dict):
        raise HeaderWrong("its header is not an object")
    tensors = [_tensor(name, entry, 8 + length) for name, entry in header.items() if name != "__metadata__"]
    tensors.sort(key=lambda tensor: (tensor.start, tensor.end))
    at = 8 + length
    for tensor in tensors:
        if tensor.start != at or tensor.end < tensor.start:
            raise HeaderWrong(f"its tensors overlap or leave gaps at byte {at - 8 - length}")
        at = tensor.end
    if at != size:
        raise HeaderWrong(f"its tensors end at byte {at - 8 - length}, the file does not")
    return tensors


def _no_name_twice(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Two tensors of one name: readers differ in which one they take."""
    header = dict(pairs)
    if len(header) != len(pairs):
        raise HeaderWrong("its header has a name twice")
    return header


BITS = {
    "BOOL": 8,
    "U8": 8,
    "I8": 8,
    "F8_E5M2": 8,
    "F8_E4M3": 8,
    "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8,
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "F64": 64,
    "I64": 64,
    "U64": 64,
    "C64": 64,
}


def _tensor(name: str, entry: object, base: int) -> TensorInfo:
    if not isinstance(entry, dict):
        raise HeaderWrong(f"tensor `{name}` is not an object")
    dtype, shape, offsets = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
    if not (isinstance(offsets, list) and len(offsets) == 2 and all(_is_count(edge) for edge in offsets)):
        raise HeaderWrong(f"tensor `{name}` has no offsets")
    if not (isinstance(shape, list) and all(_is_count(edge) for edge in shape)):
        raise HeaderWrong(f"tensor `{name}` has no shape")
    if not isinstance(dtype, str):
        raise HeaderWrong(f"tensor `{name}` has no type")
    elements = 1
    for edge in shape:
        elements *= edge
    # a type newer than this list is the engine's to judge
    if dtype in BITS and elements * BITS[dtype] != (offsets[1] - offsets[0]) * 8:
        raise HeaderWrong(
            f"tensor `{name}` has {offsets[1] - offsets[0]} bytes, and its shape and type ask for another number"
        )
    return TensorInfo(name, dtype, tuple(shape), base + offsets[0], base + offsets[1])


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63
