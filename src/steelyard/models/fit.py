"""What a version asks of memory, from its own files: bytes of weights by type, and what its layers keep. Pure.

What only a start can tell (activations, CUDA graphs) is not here; `room` holds these figures against GPUs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from .attention import count, head_count, kept, layer_count, text_part

IN_A_LAYER = re.compile(r"\.\d+\.")
# every GPU of a tensor-parallel group has these whole
WHOLE = re.compile(r"(q_a_proj|kv_a_proj_with_mqa|\bgate)\.weight$|norm|\bnorm")


def figures(config: dict[str, Any], tensors: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """`tensors`: file -> tensor -> {dtype, shape, size, ...}. A figure that the files do not tell is None.

    `outside_bytes` are in no layer (embeddings, the last projection); `whole_bytes` are on every GPU of a tensor-parallel group.
    """
    by_type: dict[str, int] = {}
    outside = whole = 0
    for name, entry in _entries(tensors):
        size = int(entry["size"])
        by_type[entry["dtype"]] = by_type.get(entry["dtype"], 0) + size
        outside += 0 if IN_A_LAYER.search(name) else size
        whole += size if len(entry["shape"]) < 2 or WHOLE.search(name) else 0
    text = text_part(config)
    quantization = config.get("quantization_config") or text.get("quantization_config") or {}
    groups = kept(config)
    return {
        "weights_bytes": sum(by_type.values()),
        "weights_by_type": dict(sorted(by_type.items())),
        "outside_bytes": outside,
        "whole_bytes": whole,
        "quantization": quantization.get("quant_method") if isinstance(quantization, dict) else None,
        "layers": layer_count(text),
        "heads": head_count(text),
        "width": count(text, "hidden_size", "n_embd", "d_model"),
        "inner": count(text, "intermediate_size", "n_inner", "ffn_hidden_size"),
        "vocabulary": count(text, "vocab_size") or count(config, "vocab_size"),
        "context": count(text, "max_position_embeddings", "n_positions", "seq_length", "max_seq_len", "max_target_positions"),
        "kept": None if groups is None else [asdict(group) for group in groups],
    }


def _entries(tensors: dict[str, dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    for entries in tensors.values():
        yield from entries.items()
