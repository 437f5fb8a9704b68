"""How much memory a version asks for, from its own files: bytes of weights by type, and what one token of context keeps. Pure.

The formulas are those of the engine (facts: store.md section 6). What only a start can tell (activations, CUDA graphs) is
not guessed here.
"""

from __future__ import annotations

from typing import Any


def figures(config: dict[str, Any], tensors: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """`tensors`: file -> tensor -> {dtype, size, ...}. A figure that the files do not tell is None.

    `kv_values_per_token` are numbers, not bytes: times the bytes of the cache's type; `kv_splits` is over how many GPUs they
    divide at most (1: not at all, as with MLA).
    """
    by_type: dict[str, int] = {}
    for entries in tensors.values():
        for entry in entries.values():
            by_type[entry["dtype"]] = by_type.get(entry["dtype"], 0) + entry["size"]
    values, splits = _kept_per_token(_text(config))
    quantization = config.get("quantization_config") or {}
    return {
        "weights_bytes": sum(by_type.values()),
        "weights_by_type": dict(sorted(by_type.items())),
        "quantization": quantization.get("quant_method") if isinstance(quantization, dict) else None,
        "layers": _count(_text(config), "num_hidden_layers"),
        "context": _count(_text(config), "max_position_embeddings"),
        "sliding_window": _count(_text(config), "sliding_window"),
        "kv_values_per_token": values,
        "kv_splits": splits,
    }


def _text(config: dict[str, Any]) -> dict[str, Any]:
    """The language model's part where a configuration has several."""
    inner = config.get("text_config")
    return inner if isinstance(inner, dict) else config


def _count(config: dict[str, Any], *names: str) -> int | None:
    for name in names:
        value = config.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return None


def _kept_per_token(config: dict[str, Any]) -> tuple[int | None, int | None]:
    layers = _count(config, "num_hidden_layers", "n_layer")
    latent, rope = _count(config, "kv_lora_rank"), _count(config, "qk_rope_head_dim")
    if layers and latent and rope:
        return layers * (latent + rope), 1  # MLA keeps one vector for all heads
    heads, width = _count(config, "num_attention_heads", "n_head"), _count(config, "hidden_size", "n_embd")
    kept = _count(config, "num_key_value_heads") or heads
    size = _count(config, "head_dim") or (width // heads if width and heads else None)
    if layers and kept and size:
        return 2 * layers * kept * size, kept
    return None, None
