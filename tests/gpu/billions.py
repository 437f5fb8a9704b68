"""A Llama of some billions of random weights, made on the GPU: large enough that reading and moving it takes measurable
time.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from steelyard.lab.simulated import tiny_model

SIZES = {"HIDDEN": 4096, "INTERMEDIATE": 11008, "LAYERS": 16, "HEADS": 32, "KV_HEADS": 8, "HEAD": 128}
READABLE = torch.tensor([ord(letter) for letter in "abcdefghijklmnopqrstuvwxyz "])


def make(folder: Path, seed: int) -> Path:
    """The lab's tiny model with larger layers: its tokenizer, its configuration, and answers that can be printed."""
    for name, size in SIZES.items():
        setattr(tiny_model, name, size)
    folder.mkdir(parents=True)
    numbers = torch.Generator("cuda").manual_seed(seed)
    tensors = {}
    for name, shape in tiny_model.tensor_shapes().items():
        if name.endswith("norm.weight"):
            tensor = torch.ones(shape, device="cuda")
        else:
            tensor = torch.randn(shape, generator=numbers, device="cuda") * (1.0 if name == "lm_head.weight" else 0.03)
        if name == "lm_head.weight":
            kept = torch.zeros_like(tensor)
            kept[READABLE] = tensor[READABLE]
            tensor = kept
        tensors[name] = tensor.to(torch.bfloat16).cpu()
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "<|end|>",
        "pad_token": "<|end|>",
        "model_max_length": 2048,
    }
    documents = {
        "config.json": tiny_model.config(),
        "generation_config.json": {"eos_token_id": 256},
        "tokenizer.json": tiny_model.tokenizer(),
        "tokenizer_config.json": settings | {"chat_template": tiny_model.CHAT, "clean_up_tokenization_spaces": False},
    }
    for name, document in documents.items():
        (folder / name).write_text(json.dumps(document))
    return folder
