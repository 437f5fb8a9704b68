"""What a GGUF file says of itself: its metadata, and from it what a version asks of memory. Reads the head of the file only.

Source: the format's description in ggml's docs/gguf.md, versions 2 and 3 (little-endian).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

MAGIC = b"GGUF"
NUMBERS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
STRING, ARRAY = 8, 9
MOST = 10_000_000  # entries of an array, bytes of a string; more is no metadata
PART = re.compile(r"-(\d{5})-of-\d{5}\.gguf$")
# layers that keep something else than keys and values of each token
OTHER_KINDS = ("ssm.", "attention.kv_lora_rank", "wkv.", "shortconv.")


class _Reader:
    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream

    def number(self, shape: str) -> Any:
        return struct.unpack(shape, self.exactly(struct.calcsize(shape)))[0]

    def exactly(self, count: int) -> bytes:
        found = self.stream.read(count)
        if len(found) != count:
            raise ValueError("it ends in its metadata")
        return found

    def text(self) -> str:
        return self.exactly(self.limited(self.number("<Q"))).decode(errors="replace")

    def limited(self, count: int) -> int:
        if count > MOST:
            raise ValueError(f"a length of {count} in its metadata")
        return count

    def value(self, kind: int) -> Any:
        """Of an array of texts, such as the vocabulary, only how many there are."""
        if kind == STRING:
            return self.text()
        if kind != ARRAY:
            return self.number(NUMBERS[kind])
        inner, count = self.number("<I"), self.limited(self.number("<Q"))
        if inner == ARRAY:
            raise ValueError("an array of arrays in its metadata")
        found = [self.value(inner) for _ in range(count)]
        return count if inner == STRING else found


def metadata(path: Path) -> dict[str, Any]:
    """Key to value; of arrays of texts their length. Raises ValueError, KeyError, OSError where it is none that we know."""
    with path.open("rb") as stream:
        reader = _Reader(stream)
        if reader.exactly(4) != MAGIC or reader.number("<I") not in (2, 3):
            raise ValueError("no GGUF of version 2 or 3")
        reader.number("<Q")  # tensors
        count = reader.limited(reader.number("<Q"))
        found = {}
        for _ in range(count):
            key = reader.text()
            found[key] = reader.value(reader.number("<I"))
        return found


def figures(paths: Mapping[str, Path]) -> dict[str, Any] | None:
    """What `fit.figures` gives, of a version in GGUF; None where it is none, or cannot be read."""
    files = {name: path for name, path in paths.items() if name.endswith(".gguf")}
    models = [name for name in sorted(files) if not name.startswith("mmproj") and _part(name) == 1]
    if not models:
        return None
    try:
        found = metadata(files[models[0]])
        weights = sum(path.stat().st_size for path in files.values())
        return _figures(found, weights)
    except (ValueError, KeyError, TypeError, OSError, struct.error):
        return None


def _part(name: str) -> int:
    matched = PART.search(name)
    return int(matched[1]) if matched else 1


def _figures(found: Mapping[str, Any], weights_bytes: int) -> dict[str, Any]:
    family = str(found["general.architecture"])

    def said(name: str) -> Any:
        return found.get(f"{family}.{name}")

    layers, heads, width = said("block_count"), said("attention.head_count"), said("embedding_length")
    return {
        "weights_bytes": weights_bytes,
        "weights_by_type": {},
        "outside_bytes": 0,
        "whole_bytes": 0,
        "quantization": "gguf",
        "layers": layers,
        "heads": heads if isinstance(heads, int) else None,
        "width": width,
        "inner": inner if isinstance(inner := said("feed_forward_length"), int) else None,
        "vocabulary": said("vocab_size") or found.get("tokenizer.ggml.tokens"),
        "context": said("context_length"),
        "kept": _kept(said, layers, heads, width) if not _other_kind(found, family) else None,
    }


def _other_kind(found: Mapping[str, Any], family: str) -> bool:
    return any(key.startswith(tuple(f"{family}.{kind}" for kind in OTHER_KINDS)) for key in found)


def _kept(said: Any, layers: Any, heads: Any, width: Any) -> list[dict[str, Any]] | None:
    """All layers as `full`: where some keep a window only, that is more than is needed. None where it is not said."""
    if not all(isinstance(each, int) and each > 0 for each in (layers, heads, width)):
        return None
    of_keys = said("attention.head_count_kv")
    per_layer = of_keys if isinstance(of_keys, list) else [heads if of_keys is None else of_keys] * layers
    size = said("attention.key_length") or width // heads
    wide = size + (said("attention.value_length") or size)
    groups: dict[int, int] = {}
    for count in per_layer:
        groups[count] = groups.get(count, 0) + 1
    return [
        {"kind": "full", "layers": number, "values": count * wide, "splits": max(1, count), "window": None}
        for count, number in groups.items()
        if count
    ]
