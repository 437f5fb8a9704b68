"""Options that `serve.options` may hold for llama.cpp: attributes of xllamacpp's `CommonParams`, llama.cpp's own
parameters.

Without those of its other programs (perplexity, imatrix, benchmarks) and those that steelyard sets itself. Source: the
wheel of each version.
"""

from __future__ import annotations

from .options import EngineOptions

OWN = {
    "model": "`version` and `source` of the model",
    "model_alias": "`alias`",
    "hostnames": "nothing: engines listen on a socket of their own",
    "port": "`serve.port`",
    "api_keys": "`vllm.api_key`, which goes into the vault",
    "n_ctx": "`serve.max_model_len`, the context of one request",
    "endpoint_metrics": "nothing: the counters are always on",
    "ui": "nothing: it has no use behind the gateway",
    "ssl_file_cert": "`gateway.tls_pem`",
    "ssl_file_key": "`gateway.tls_pem`",
    "sleep_idle_seconds": "`serve.load: lazy` and `serve.idle_s`",
    "hf_token": "`source` of the model: hosts fetch nothing",
}
NEWEST = "2026.10.11549"  # what `llamacpp.version` is where nobody says another
KNOWN = {
    NEWEST: frozenset(
        [
            "attention_type",
            "cache_idle_slots",
            "cache_prompt",
            "cache_ram_mib",
            "cache_type_k",
            "cache_type_v",
            "chat_template",
            "check_tensors",
            "checkpoint_min_step",
            "cont_batching",
            "ctx_shift",
            "embd_normalize",
            "embedding",
            "enable_chat_template",
            "enable_reasoning",
            "fit_params",
            "fit_params_min_ctx",
            "flash_attn_type",
            "force_pure_content_parser",
            "grp_attn_n",
            "grp_attn_w",
            "image_max_tokens",
            "image_min_tokens",
            "kv_unified",
            "kv_unified_per_slot",
            "lazy_mode",
            "load_mode",
            "load_mtp",
            "main_gpu",
            "mmproj_use_gpu",
            "moe_cache_size",
            "n_batch",
            "n_cache_reuse",
            "n_ctx_checkpoints",
            "n_gpu_layers",
            "n_keep",
            "n_outputs_max",
            "n_parallel",
            "n_predict",
            "n_threads_http",
            "n_ubatch",
            "no_extra_bufts",
            "no_host",
            "no_kv_offload",
            "no_mmproj",
            "no_op_offload",
            "numa",
            "parse_special",
            "pooling_type",
            "prefill_assistant",
            "reasoning_format",
            "rope_freq_base",
            "rope_freq_scale",
            "rope_scaling_type",
            "slot_prompt_similarity",
            "special",
            "split_mode",
            "sse_ping_interval",
            "swa_full",
            "timeout_read",
            "timeout_write",
            "use_jinja",
            "verbosity",
            "warmup",
            "yarn_attn_factor",
            "yarn_beta_fast",
            "yarn_beta_slow",
            "yarn_ext_factor",
            "yarn_orig_ctx",
            "n_threads",
            "n_threads_batch",
        ]
    )
}


def plain(name: str) -> str:
    """`n-parallel` is a way to write `n_parallel`."""
    return name.replace("-", "_")


OPTIONS = EngineOptions(NEWEST, OWN, KNOWN, plain)
