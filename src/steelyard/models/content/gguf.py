"""The metadata of a GGUF file, and from it what a version asks of memory; only the head of the file is read.

Source: the format's description in ggml's docs/gguf.md, versions 2 and 3 (little-endian).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from steelyard.models.fit.footprint import Footprint
from steelyard.models.fit.kv_cache import KvCacheGroup

MAGIC = b"GGUF"
NUMBERS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
STRING, ARRAY = 8, 9
MOST = 10_000_000  # entries of an array, bytes of a string; more is no metadata
PART = re.compile(r"-(\d{5})-of-\d{5}\.gguf$")
# layers that keep something else than keys and values of each token
OTHER_KINDS = ("ssm.", "attention.kv_lora_rank", "wkv.", "shortconv.")


Value = int | float | bool | str | list[int | float | bool]  # of a key; of an array of texts its length


class _GgufReader:
    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream

    def number(self, shape: str) -> Any:
        return struct.unpack(shape, self.exactly(struct.calcsize(shape)))[0]

    def exactly(self, count: int) -> bytes:
        content = self.stream.read(count)
        if len(content) != count:
            raise ValueError("it ends in its metadata")
        return content

    def text(self) -> str:
        return self.exactly(self.limited(self.number("<Q"))).decode(errors="replace")

    def limited(self, count: int) -> int:
        if count > MOST:
            raise ValueError(f"a length of {count} in its metadata")
        return count

    def value(self, kind: int) -> Any:
        """The next value; of an array of texts, such as the vocabulary, only how many there are."""
        if kind == STRING:
            return self.text()
        if kind != ARRAY:
            return self.number(NUMBERS[kind])
        inner, count = self.number("<I"), self.limited(self.number("<Q"))
        if inner == ARRAY:
            raise ValueError("an array of arrays in its metadata")
        values = [self.value(inner) for _ in range(count)]
        return count if inner == STRING else values


def metadata(path: Path) -> dict[str, Value]:
    """The metadata, key to value; of arrays of texts their length.

    Raises ValueError, KeyError, OSError where it is none that we know.
    """
    with path.open("rb") as stream:
        reader = _GgufReader(stream)
        if reader.exactly(4) != MAGIC or reader.number("<I") not in (2, 3):
            raise ValueError("no GGUF of version 2 or 3")
        reader.number("<Q")  # tensors
        count = reader.limited(reader.number("<Q"))
        values: dict[str, Value] = {}
        for _ in range(count):
            key = reader.text()
            values[key] = reader.value(reader.number("<I"))
        return values


def memory_footprint(paths: Mapping[str, Path]) -> Footprint | None:
    """The footprint of a version in GGUF; None where it is none, or cannot be read."""
    files = {name: path for name, path in paths.items() if name.endswith(".gguf")}
    models = [name for name in sorted(files) if not name.startswith("mmproj") and _part(name) == 1]
    if not models:
        return None
    try:
        values = metadata(files[models[0]])
        weights = sum(path.stat().st_size for path in files.values())
        return _footprint(values, weights)
    except (ValueError, KeyError, TypeError, OSError, struct.error):
        return None


def _part(name: str) -> int:
    matched = PART.search(name)
    return int(matched[1]) if matched else 1


def _footprint(values: Mapping[str, Value], weights_bytes: int) -> Footprint:
    family = str(values["general.architecture"])

    def value_of(name: str) -> Any:
        return values.get(f"{family}.{name}")

    vocabulary: Any = values.get("tokenizer.ggml.tokens")  # texts, so their number
    layers, heads, width = value_of("block_count"), value_of("attention.head_count"), value_of("embedding_length")
    return Footprint(
        weights_bytes=weights_bytes,
        quantization="gguf",
        layers=layers,
        heads=heads if isinstance(heads, int) else None,
        width=width,
        inner=inner if isinstance(inner := value_of("feed_forward_length"), int) else None,
        vocabulary=value_of("vocab_size") or vocabulary,
        context=value_of("context_length"),
        kv_cache=_kv_cache(value_of, layers, heads, width) if not _other_kind(values, family) else None,
    )


def _other_kind(values: Mapping[str, Value], family: str) -> bool:
    return any(key.startswith(tuple(f"{family}.{kind}" for kind in OTHER_KINDS)) for key in values)


def _kv_cache(value_of: Any, layers: Any, heads: Any, width: Any) -> tuple[KvCacheGroup, ...] | None:
    """All layers as `full`: where some keep a window only, that is more than is needed. None where it is not said."""
    if not all(isinstance(number, int) and number > 0 for number in (layers, heads, width)):
        return None
    of_keys = value_of("attention.head_count_kv")
    per_layer = of_keys if isinstance(of_keys, list) else [heads if of_keys is None else of_keys] * layers
    size = value_of("attention.key_length") or width // heads
    wide = size + (value_of("attention.value_length") or size)
    groups: dict[int, int] = {}
    for count in per_layer:
        groups[count] = groups.get(count, 0) + 1
    return tuple(KvCacheGroup("full", number, count * wide, max(1, count)) for count, number in groups.items() if count)
