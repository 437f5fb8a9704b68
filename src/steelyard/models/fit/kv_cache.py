"""The KV cache of a model, and per sequence while it answers, read from its config.json. Pure.

Layers that keep alike are one group. The rules are those of the engine and of the configuration classes that it reads
(docs/design/gpu-memory.md); a kind of model that is not known here gives None, and is never guessed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Config = Mapping[str, Any]
Kind = Literal["full", "window", "state"]

# read a text once and keep nothing of it
ENCODERS = {
    "bert",
    "roberta",
    "xlm-roberta",
    "camembert",
    "distilbert",
    "electra",
    "modernbert",
    "mpnet",
    "nomic_bert",
    "new",
    "gte",
}
ALL_MAMBA = {"mamba", "mamba2", "falcon_mamba"}
NOT_LATENT = {"minicpm3"}  # has the ranks of MLA, and the engine keeps whole heads all the same
MOST_LAYERS = 10_000  # what says more is no model
NESTED = ("text_config", "llm_config", "language_config", "thinker_config")
KINDS = {
    "full_attention": "full",
    "attention": "full",
    "global": "full",
    "sliding_attention": "window",
    "local": "window",
    "chunked_attention": "window",
    "linear_attention": "linear",
    "mamba": "mamba",
    "conv": "conv",
    "hybrid": "full mamba",
    "mlp": "",
    "moe": "",
}


@dataclass(frozen=True)
class KvCacheGroup:
    """`layers` that keep `values` numbers each: per token (`full`), of the last `window` tokens, or per sequence
    (`state`).

    Numbers, not bytes: times the width of the cache's type. They divide over at most `splits` GPUs (1: not at all, as
    the latent vector of MLA).
    """

    kind: Kind
    layers: int
    values: int
    splits: int
    window: int | None = None


def text_part(config: Config) -> Config:
    """The language model's part where a configuration has several."""
    while True:
        inner = next((part for part in map(config.get, NESTED) if isinstance(part, dict)), None)
        if inner is None:
            return config
        config = inner


def count(config: Config, *names: str) -> int | None:
    """The first of `names` that is a positive number."""
    for name in names:
        value = config.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return None


def _type(config: Config) -> str:
    return str(config.get("model_type"))


def layer_count(config: Config) -> int | None:
    """The number of layers; None where the configuration does not tell."""
    return count(config, "num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers")


def head_count(config: Config) -> int | None:
    """Heads that ask; a tensor-parallel size has to divide them."""
    return count(config, "num_attention_heads", "n_head", "n_heads", "num_heads", "decoder_attention_heads")


def kv_cache_groups(config: Config) -> tuple[KvCacheGroup, ...] | None:
    """Groups of layers; empty for a model that keeps nothing, None for one whose configuration does not tell."""
    config = text_part(config)
    layers = layer_count(config)
    if _type(config) in ENCODERS:
        return ()
    if layers is None or layers > MOST_LAYERS:
        return None
    if _type(config) == "whisper":
        return _whisper(config, layers)
    if isinstance(config.get("block_configs"), list):
        return _blocks(config)
    layers_of: Counter[KvCacheGroup] = Counter()
    for kinds in _kinds(config, layers):
        for kind in kinds.split():
            one = _layer(config, kind)
            if one is None:
                return None
            layers_of[one] += 1
    return tuple(
        KvCacheGroup(one.kind, number, one.values, one.splits, one.window) for one, number in layers_of.items()
    )


def _kinds(config: Config, layers: int) -> list[str]:
    """The kind of each layer: words of `full window linear mamba conv lightning`, none for one that keeps nothing."""
    listed = config.get("layer_types") or config.get("layers_block_type")
    if isinstance(listed, list) and len(listed) == layers:
        kinds = [KINDS.get(str(kind), str(kind)) for kind in listed]
    elif isinstance(config.get("hybrid_override_pattern"), str):
        kinds = [{"M": "mamba", "*": "full"}.get(letter, "") for letter in config["hybrid_override_pattern"]]
    elif isinstance(config.get("attn_type_list"), list):
        kinds = ["full" if kind else "lightning" for kind in config["attn_type_list"]]
    else:
        kinds = [_by_number(config, number) for number in range(layers)]
    shared = count(config, "num_kv_shared_layers")  # the last ones read what an earlier one kept
    return kinds[:-shared] if shared else kinds


def _by_number(config: Config, number: int) -> str:
    kind = _type(config)
    if kind in ALL_MAMBA:
        return "mamba"
    if kind == "falcon_h1":
        return "full mamba"
    indices = config.get("attn_layer_indices")
    if isinstance(indices, list):
        return "full" if number in indices else "mamba"
    period = count(config, "attn_layer_period")
    if period:
        return "full" if number % period == config.get("attn_layer_offset", 0) else "mamba"
    every = count(config, "full_attention_interval")
    if every:
        return "full" if (number + 1) % every == 0 else "linear"
    return "window" if _window(config) and _is_windowed(config, number) else "full"


def _is_windowed(config: Config, number: int) -> bool:
    """True where, in a model that has windows, layer `number` does."""
    if config.get("use_sliding_window") is False:
        return False
    if config.get("use_sliding_window") and count(config, "max_window_layers") is not None:
        return number >= int(config["max_window_layers"])
    rope = config.get("no_rope_layers")
    if isinstance(rope, list) and number < len(rope):
        return bool(rope[number])
    every = count(config, "sliding_window_pattern", "_sliding_window_pattern", "no_rope_layer_interval")
    if every:
        return (number + 1) % every != 0
    if _type(config) in ("gemma2", "gpt_oss"):
        return number % 2 == 0
    return True


def _window(config: Config) -> int | None:
    return count(config, "sliding_window", "attention_chunk_size")


def _layer(config: Config, kind: str) -> KvCacheGroup | None:
    """One layer of a kind; None where the configuration does not tell."""
    if kind in ("full", "window"):
        return _attention(config, "window" if kind == "window" and _window(config) else "full")
    state = {"linear": _linear, "mamba": _mamba, "conv": _convolution, "lightning": _lightning}.get(kind)
    numbers = state(config) if state else None
    return KvCacheGroup("state", 1, *numbers) if numbers else None


def _attention(config: Config, kind: Kind) -> KvCacheGroup | None:
    if config.get("compress_ratios") is not None:
        return None
    latent, rope = count(config, "kv_lora_rank"), count(config, "qk_rope_head_dim")
    if latent and rope and _type(config) not in NOT_LATENT:
        index = count(
            config, "index_head_dim"
        )  # sparse attention: a byte per number and a scale, in numbers of two bytes
        return KvCacheGroup(kind, 1, latent + rope + ((index + 4 + 1) // 2 if index else 0), 1)
    heads = _kv_heads(config)
    size = _head_size(config)
    if heads is None or size is None:
        return None
    wide = None if _type(config) in NOT_LATENT else count(config, "v_head_dim")
    return KvCacheGroup(kind, 1, heads * (size + (wide or size)), heads, _window(config) if kind == "window" else None)


def _head_size(config: Config) -> int | None:
    heads, width = head_count(config), count(config, "hidden_size", "n_embd", "d_model", "word_embed_proj_dim")
    plain, rope = count(config, "qk_nope_head_dim"), count(config, "qk_rope_head_dim")
    if plain and rope:
        return plain + rope
    return count(config, "head_dim", "kv_channels") or (width // heads if width and heads else None)


def _kv_heads(config: Config) -> int | None:
    """Heads whose keys and values are kept."""
    if config.get("new_decoder_architecture"):  # falcon 40b and 180b
        return count(config, "num_kv_heads", "n_head_kv") or head_count(config)
    if config.get("multi_query") is True:
        return 1
    if config.get("multi_query_attention") is True:
        return count(config, "multi_query_group_num") or 1
    inner = config.get("attn_config")
    grouped = count(inner, "kv_n_heads") if isinstance(inner, dict) else None
    return grouped or count(config, "num_key_value_heads", "n_head_kv") or head_count(config)


def _mamba(config: Config) -> tuple[int, int] | None:
    """Numbers of a sequence: the convolution's last inputs and the state."""
    width, state = count(config, "hidden_size"), count(config, "mamba_d_state", "ssm_state_size", "state_size")
    steps = count(config, "mamba_d_conv", "conv_kernel")
    heads = count(config, "mamba_n_heads", "mamba_num_heads")
    size = count(config, "mamba_d_head", "mamba_head_dim")
    if _type(config) == "mamba2":
        heads, size = count(config, "num_heads"), count(config, "head_dim")
    if not (state and steps):
        return None
    if heads and size:  # mamba 2
        inner, groups = heads * size, count(config, "mamba_n_groups", "n_groups") or 1
        return (inner + 2 * groups * state) * (steps - 1) + inner * state, heads
    expand = count(config, "mamba_expand", "expand") or 2
    wide = count(config, "intermediate_size") if _type(config) in ALL_MAMBA else None
    if not (wide or width):
        return None
    inner = wide or expand * int(width or 0)
    return inner * (steps - 1) + inner * state, inner


def _linear(config: Config) -> tuple[int, int] | None:
    """Gated delta net."""
    names = (
        "linear_num_key_heads",
        "linear_num_value_heads",
        "linear_key_head_dim",
        "linear_value_head_dim",
        "linear_conv_kernel_dim",
    )
    keys, values, key, value, steps = (count(config, name) or 0 for name in names)
    if not (keys and values and key and value and steps):
        return None
    return (2 * keys * key + values * value) * (steps - 1) + values * value * key, keys


def _convolution(config: Config) -> tuple[int, int] | None:
    width, steps = count(config, "hidden_size"), count(config, "conv_L_cache")
    return (width * (steps - 1), width) if width and steps else None


def _lightning(config: Config) -> tuple[int, int] | None:
    heads, size = head_count(config), _head_size(config)
    return (heads * size * size, heads) if heads and size else None


def _blocks(config: Config) -> tuple[KvCacheGroup, ...] | None:
    """Layers that were pruned one by one: each names how many heads share a kept one, or that it has no attention."""
    heads, size = head_count(config), _head_size(config)
    if not (heads and size):
        return None
    layers_of: Counter[int] = Counter()
    for block in config["block_configs"]:
        group = (block.get("attention") or {}).get("n_heads_in_group") if isinstance(block, dict) else None
        if isinstance(group, int) and group > 0:
            layers_of[heads // group] += 1
    return tuple(KvCacheGroup("full", number, 2 * size * own, own) for own, number in layers_of.items())


def _whisper(config: Config, layers: int) -> tuple[KvCacheGroup, ...] | None:
    """The decoder's own tokens, and what it keeps of the sound."""
    width, heads, sound = count(config, "d_model"), head_count(config), count(config, "max_source_positions")
    if not (width and heads and sound):
        return None
    return KvCacheGroup("full", layers, 2 * width, heads), KvCacheGroup("state", layers, 2 * width * sound, heads)
