"""The lab's tiny model as GGUF, for llama.cpp: the same weights and vocabulary, written with llama.cpp's own
library.
"""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

from steelyard.lab.simulated import tiny_model as tiny

OUTSIDE = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
IN_A_LAYER = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
NORMAL, CONTROL, UNUSED = 1, 3, 5  # kinds of tokens


def _name(tensor: str) -> str:
    plain = tensor.removesuffix(".weight")
    if plain in OUTSIDE:
        return f"{OUTSIDE[plain]}.weight"
    layer, part = plain.removeprefix("model.layers.").split(".", 1)
    return f"blk.{layer}.{IN_A_LAYER[part]}.weight"


def make(folder: Path, seed: int) -> Path:
    """`folder/tiny.gguf`, in F32. The same bytes for the same seed."""
    folder.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(folder / "tiny.gguf", "llama")
    writer.add_name("tiny")
    writer.add_context_length(2048)
    writer.add_embedding_length(tiny.HIDDEN)
    writer.add_feed_forward_length(tiny.INTERMEDIATE)
    writer.add_block_count(tiny.LAYERS)
    writer.add_head_count(tiny.HEADS)
    writer.add_head_count_kv(tiny.KV_HEADS)
    writer.add_rope_dimension_count(tiny.HEAD)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_file_type(0)
    writer.add_vocab_size(tiny.VOCABULARY)
    tokens = [text.encode() for text in (*tiny.byte_characters(), *tiny.SPECIAL)]
    kinds = [NORMAL] * 256 + [CONTROL] * len(tiny.SPECIAL)
    spare = tiny.VOCABULARY - len(tokens)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([*tokens, *(f"<unused{number}>".encode() for number in range(spare))])
    writer.add_token_types([*kinds, *[UNUSED] * spare])
    writer.add_token_merges(["a b"])  # a tokenizer without any is refused
    writer.add_eos_token_id(256)
    writer.add_chat_template(tiny.CHAT)
    for name, shape in tiny.tensor_shapes().items():
        halves = np.frombuffer(tiny.tensor_bytes(name, shape, seed), dtype="<u2").astype("<u4")
        writer.add_tensor(_name(name), (halves << 16).view("<f4").reshape(shape))  # bf16 is the upper half of a float
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return folder
