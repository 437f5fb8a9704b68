"""The memory footprint of a version, from its own files: bytes of weights by type, and what its layers keep. Pure.

What only a start can tell (activations, CUDA graphs) is not here; `gpu_memory` holds a footprint against GPUs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from .kv_cache import KvCacheGroup, count, head_count, kv_cache_groups, layer_count, text_part

IN_A_LAYER = re.compile(r"\.\d+\.")
# every GPU of a tensor-parallel group has these whole
WHOLE = re.compile(r"(q_a_proj|kv_a_proj_with_mqa|\bgate)\.weight$|norm|\bnorm")


class Tensor(Protocol):
    """The part of a manifest's tensor that counts here; `size` is bytes."""

    @property
    def dtype(self) -> str: ...
    @property
    def shape(self) -> Sequence[int]: ...
    @property
    def size(self) -> int: ...


@dataclass(frozen=True)
class Footprint:
    """The memory that a version asks for; a manifest keeps it under `fit`. A number that the files do not tell is None.

    `outside_bytes` are in no layer (embeddings, the last projection); `whole_bytes` are on every GPU of a
    tensor-parallel group. `kv_cache` are the groups of layers that keep something of a request; documents say `kept`.
    """

    weights_bytes: int
    weights_by_type: dict[str, int] = field(default_factory=dict)
    outside_bytes: int = 0
    whole_bytes: int = 0
    quantization: str | None = None
    layers: int | None = None
    heads: int | None = None
    width: int | None = None
    inner: int | None = None
    vocabulary: int | None = None
    context: int | None = None
    kv_cache: tuple[KvCacheGroup, ...] | None = None

    def as_json(self) -> dict[str, object]:
        """The object that manifests and documents hold."""
        document = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "kv_cache"}
        return {**document, "kept": None if self.kv_cache is None else [asdict(group) for group in self.kv_cache]}

    @classmethod
    def of_json(cls, document: Mapping[str, Any] | None) -> Footprint | None:
        """The footprint in a manifest's object; None in one that was published before there were any.

        Keys that are not known here are a newer controller's, and are left out.
        """
        if not document or "weights_bytes" not in document:
            return None
        kept = document.get("kept")
        groups = None if kept is None else tuple(KvCacheGroup(**_known(KvCacheGroup, group)) for group in kept)
        return cls(**_known(cls, document), kv_cache=groups)


def _known(kind: type[Footprint | KvCacheGroup], document: Mapping[str, Any]) -> dict[str, Any]:
    return {name: document[name] for name in kind.__dataclass_fields__ if name in document and name != "kv_cache"}


def memory_footprint(config: Mapping[str, Any], tensors: Mapping[str, Mapping[str, Tensor]]) -> Footprint:
    """The footprint of a version with this config.json and these `tensors`: file -> name -> tensor."""
    by_type: dict[str, int] = {}
    outside = whole = 0
    for name, tensor in _named(tensors):
        by_type[tensor.dtype] = by_type.get(tensor.dtype, 0) + tensor.size
        outside += 0 if IN_A_LAYER.search(name) else tensor.size
        whole += tensor.size if len(tensor.shape) < 2 or WHOLE.search(name) else 0
    text = text_part(config)
    quantization = config.get("quantization_config") or text.get("quantization_config") or {}
    return Footprint(
        weights_bytes=sum(by_type.values()),
        weights_by_type=dict(sorted(by_type.items())),
        outside_bytes=outside,
        whole_bytes=whole,
        quantization=quantization.get("quant_method") if isinstance(quantization, dict) else None,
        layers=layer_count(text),
        heads=head_count(text),
        width=count(text, "hidden_size", "n_embd", "d_model"),
        inner=count(text, "intermediate_size", "n_inner", "ffn_hidden_size"),
        vocabulary=count(text, "vocab_size") or count(config, "vocab_size"),
        context=count(
            text, "max_position_embeddings", "n_positions", "seq_length", "max_seq_len", "max_target_positions"
        ),
        kv_cache=kv_cache_groups(config),
    )


def _named(tensors: Mapping[str, Mapping[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
    for of_file in tensors.values():
        yield from of_file.items()
