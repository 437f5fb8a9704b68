"""Whether a declared service of vLLM's CPU build would be killed by SIGILL at its first token. Pure.

Seen with vLLM 0.32 on Sapphire Rapids: its attention kernel uses AMX tiles where the processor has them, and Linux
kills a process that has not asked for tiles before. oneDNN asks while something larger runs: a compile, or the
measuring of memory for the context. An engine that runs eagerly, with a context whose memory is declared, comes to its
first token before that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from steelyard.modules.facts.processor import ProcessorState
from steelyard.site.schema import Serve

CPU_VARIABLES = "VLLM_CPU_"  # variables that only the CPU build reads
CONTEXT_VARIABLE, CONTEXT_OPTION = "VLLM_CPU_KVCACHE_SPACE", "kv-cache-memory-bytes"
SAFE_TYPES = frozenset({"float32", "float", "float16", "half"})  # the kernel takes bfloat16 only


def runs_on_processor(serve: Serve, processor: ProcessorState) -> bool:
    """A service is the CPU build's where it sets that build's variables, or its host has no GPU."""
    return not processor.accelerator or any(name.startswith(CPU_VARIABLES) for name in serve.environment)


def killed_by_amx(serve: Serve, weights_by_type: Mapping[str, int], processor: ProcessorState) -> bool:
    """`weights_by_type`: bytes by safetensors type, empty where they are not known; `dtype: auto` follows them."""
    if serve.engine != "vllm" or not processor.amx or not runs_on_processor(serve, processor):
        return False
    options: Mapping[str, Any] = serve.options_by_name()
    explicit = CONTEXT_VARIABLE in serve.environment or CONTEXT_OPTION in options
    eager = options.get("enforce-eager") is True
    return eager and explicit and _computes_in_bfloat16(str(options.get("dtype", "auto")), weights_by_type)


def _computes_in_bfloat16(dtype: str, weights_by_type: Mapping[str, int]) -> bool:
    if dtype != "auto":
        return dtype not in SAFE_TYPES
    return not weights_by_type or "BF16" in weights_by_type
