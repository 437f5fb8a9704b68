"""A tiny Llama with random weights, made on the spot with the standard library: what the lab's vLLM serves.

Real files in the real formats (safetensors shards, index, byte-level BPE tokenizer, chat template), 3 MB, the same
bytes for the same seed. Head size 64, because the CPU attention refuses 16. Output rows of tokens that are not
lower-case letters or a space are zero, so its answers can at least be printed.
"""

from __future__ import annotations

import json
import random
import struct
from pathlib import Path

HIDDEN, INTERMEDIATE, LAYERS, HEADS, KV_HEADS, HEAD = 256, 512, 2, 4, 2, 64
SPECIAL = ("<|end|>", "<|user|>", "<|assistant|>")
VOCABULARY = 320  # 256 bytes, the special tokens, and room up to a round number
CHAT = (
    "{% for message in messages %}<|user|>{{ message['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def byte_characters() -> list[str]:
    """The printable character that stands for each byte in a byte-level vocabulary (GPT-2's table)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table, extra = {}, 0
    for byte in range(256):
        if byte in printable:
            table[byte] = chr(byte)
        else:
            table[byte] = chr(256 + extra)
            extra += 1
    return [table[byte] for byte in range(256)]


def tensor_shapes() -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (VOCABULARY, HIDDEN)}
    for layer in range(LAYERS):
        at = f"model.layers.{layer}"
        shapes |= {
            f"{at}.input_layernorm.weight": (HIDDEN,),
            f"{at}.self_attn.q_proj.weight": (HEADS * HEAD, HIDDEN),
            f"{at}.self_attn.k_proj.weight": (KV_HEADS * HEAD, HIDDEN),
            f"{at}.self_attn.v_proj.weight": (KV_HEADS * HEAD, HIDDEN),
            f"{at}.self_attn.o_proj.weight": (HIDDEN, HEADS * HEAD),
            f"{at}.post_attention_layernorm.weight": (HIDDEN,),
            f"{at}.mlp.gate_proj.weight": (INTERMEDIATE, HIDDEN),
            f"{at}.mlp.up_proj.weight": (INTERMEDIATE, HIDDEN),
            f"{at}.mlp.down_proj.weight": (HIDDEN, INTERMEDIATE),
        }
    return shapes | {"model.norm.weight": (HIDDEN,), "lm_head.weight": (VOCABULARY, HIDDEN)}


def random_bf16(numbers: random.Random, count: int, high_byte: int = 0x3D) -> bytes:
    """`count` little-endian bf16 values of both signs; 0x3D makes them 0.03 to 0.12 in size, 0x3F 0.5 to 2."""
    low = numbers.randbytes(count)
    high = numbers.randbytes(count).translate(bytes(high_byte | (byte & 1) << 7 for byte in range(256)))
    mixed = bytearray(2 * count)
    mixed[0::2], mixed[1::2] = low, high
    return bytes(mixed)


def tensor_bytes(name: str, shape: tuple[int, ...], seed: int) -> bytes:
    numbers = random.Random(f"{seed}:{name}")
    if name.endswith("norm.weight"):
        return struct.pack("<H", 0x3F80) * shape[0]
    if name != "lm_head.weight":
        return random_bf16(numbers, shape[0] * shape[1])
    readable = {ord(letter) for letter in "abcdefghijklmnopqrstuvwxyz "}
    rows = (
        random_bf16(numbers, shape[1], 0x3F) if token in readable else bytes(2 * shape[1]) for token in range(shape[0])
    )
    return b"".join(rows)


def safetensors_bytes(tensors: dict[str, tuple[tuple[int, ...], bytes]]) -> bytes:
    """A safetensors file: 8 bytes of header length, a JSON header padded to 8, then the data."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, (shape, data) in tensors.items():
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(data for _, data in tensors.values())


def config() -> dict[str, object]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": HIDDEN,
        "intermediate_size": INTERMEDIATE,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "head_dim": HEAD,
        "vocab_size": VOCABULARY,
        "hidden_act": "silu",
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "bos_token_id": None,
        "eos_token_id": 256,
        "attention_bias": False,
    }


def tokenizer() -> dict[str, object]:
    characters = byte_characters()
    added = [
        {
            "id": 256 + number,
            "content": text,
            "special": True,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
        }
        for number, text in enumerate(SPECIAL)
    ]
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": level,
        "post_processor": None,
        "decoder": level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": {character: number for number, character in enumerate(characters)},
            "merges": [],
        },
    }


def make(folder: Path, seed: int) -> Path:
    """Write the model into `folder`, two shards; a folder that is already complete is left alone."""
    mark = folder / "model.safetensors.index.json"
    if mark.exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    names = list(tensor_shapes())
    half = len(names) // 2
    places: dict[str, str] = {}
    for number, part in enumerate((names[:half], names[half:]), start=1):
        shard = f"model-{number:05}-of-00002.safetensors"
        shapes = tensor_shapes()
        data = {name: (shapes[name], tensor_bytes(name, shapes[name], seed)) for name in part}
        (folder / shard).write_bytes(safetensors_bytes(data))
        places |= dict.fromkeys(part, shard)
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": SPECIAL[0],
        "pad_token": SPECIAL[0],
        "model_max_length": 2048,
        "clean_up_tokenization_spaces": False,
        "chat_template": CHAT,
    }
    documents = {
        "config.json": config(),
        "generation_config.json": {"eos_token_id": 256},
        "tokenizer.json": tokenizer(),
        "tokenizer_config.json": settings,
        "model.safetensors.index.json": {"metadata": {"total_size": 0}, "weight_map": places},
    }
    for name, document in documents.items():
        (folder / name).write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    return folder
