"""The fit of a version on the GPUs of a service, with the numbers, and what else would fit. Pure.

An engine takes `utilization` of each GPU's memory. Of that, weights and what it works with go first; what is left keeps
the context. It does not start where one request of the longest context has no room (docs/design/gpu-memory.md). Weights
and context are exact to a percent or two; what the engine works with is an estimate and named so.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from .footprint import Footprint
from .kv_cache import KvCacheGroup

if TYPE_CHECKING:
    from steelyard.site.schema import Serve

GIB = 1 << 30
RUNTIME_BYTES = 6 * GIB // 10  # what CUDA takes before anything is loaded, with graphs of a small engine
NCCL_BYTES = 4 * GIB // 10  # buffers between GPUs
BATCHED = 8192  # tokens that an engine computes at once at most, by its default
SEQUENCES = 256  # requests it answers at once at most, by its default
STATE_WIDTH = 4  # bytes; engines keep states in the widest type they use
TIGHT = 0.05  # of the memory: an estimate is not better than that
MOST = 0.95  # of a GPU that an engine should take
ROUND = 1024  # tokens; contexts are suggested in such steps
STORED_WIDTH = {"BF16": 2, "F16": 2, "F32": 4}  # bytes of a weight by its type in safetensors
COMPUTED_WIDTH = {"bfloat16": 2, "float16": 2, "half": 2, "float32": 4, "float": 4}  # by vLLM's `dtype`


@dataclass(frozen=True)
class ServingProfile:
    """The way in which a service wants to run a version.

    `context` None: the model's own; `cache_width`: bytes of a kept number.
    """

    tensor: int = 1
    pipeline: int = 1
    utilization: float = 0.9
    context: int | None = None
    cache_width: int = 2
    batched: int = BATCHED
    sequences: int = SEQUENCES
    weights_share: float = 1.0  # of their bytes; less where weights of fewer bits are thought of
    width: int | None = None  # bytes of a weight once it is loaded, where `dtype` says so; None: as it is stored

    @classmethod
    def of(cls, serve: Serve) -> ServingProfile:
        """The profile that `models.yml` declares; options of the engine's own file count."""
        given = serve.options_by_name()
        width = COMPUTED_WIDTH.get(str(given.get("dtype", "auto")))
        return cls(
            tensor=serve.tensor_parallel_size,
            pipeline=serve.pipeline_parallel_size,
            utilization=number(given, "gpu-memory-utilization", serve.gpu_memory_utilization),
            context=serve.max_model_len or int(number(given, "max-model-len", 0)) or None,
            cache_width=1 if str(given.get("kv-cache-dtype", "auto")).startswith("fp8") else width or 2,
            batched=int(number(given, "max-num-batched-tokens", BATCHED)),
            sequences=int(number(given, "max-num-seqs", SEQUENCES)),
            width=width,
        )


def number(given: Mapping[str, Any], name: str, default: float) -> float:
    """The number of an option that may be anything: what is no positive number is the engine's to refuse."""
    try:
        value = float(given[name])
    except (KeyError, TypeError, ValueError):
        return default
    return value if 0 < value < math.inf else default


@dataclass(frozen=True)
class MemoryFit:
    """The memory that a version takes of a GPU, in bytes. `request_bytes`: one request of the whole context.

    None: the version's files do not tell.
    """

    context: int | None
    memory_bytes: int
    budget_bytes: int
    weights_bytes: int
    working_bytes: int
    token_bytes: int | None
    request_bytes: int | None

    @property
    def left_bytes(self) -> int:
        """Bytes that keep the context; negative where not even the weights have room."""
        return self.budget_bytes - self.weights_bytes - self.working_bytes

    @property
    def at_once(self) -> float | None:
        """The number of requests of the whole context that have room at the same time."""
        if self.request_bytes is None:
            return None
        return max(0.0, self.left_bytes / self.request_bytes) if self.request_bytes else None

    @property
    def verdict(self) -> str:
        """`fits`, `tight` (within what an estimate may err), `no`, or `unknown`."""
        if self.left_bytes < (self.request_bytes or 0):
            return "no"
        if self.request_bytes is None:
            return "unknown"
        return "tight" if self.left_bytes - self.request_bytes < TIGHT * self.memory_bytes else "fits"


def memory_fit(footprint: Footprint, profile: ServingProfile, memory_bytes: int) -> MemoryFit:
    """The fit of a version with this footprint on GPUs of `memory_bytes` each."""
    context = profile.context or footprint.context
    token, state = _cache_bytes(footprint, profile, 1), _state_bytes(footprint, profile)
    request = _cache_bytes(footprint, profile, context) if context else None
    return MemoryFit(
        context,
        memory_bytes,
        int(memory_bytes * profile.utilization),
        _weights(footprint, profile),
        _working(footprint, profile),
        token,
        request + state if request is not None and state is not None else None,
    )


def _weights(footprint: Footprint, profile: ServingProfile) -> int:
    whole, outside = footprint.whole_bytes, footprint.outside_bytes
    inside = footprint.weights_bytes - outside - whole
    layers = footprint.layers or 1
    share = -(-layers // profile.pipeline) / layers  # of the layers, on the stage that has most
    return int(
        ((max(0, inside) / profile.tensor + whole) * share + outside / profile.tensor)
        * profile.weights_share
        * _widened(footprint, profile)
    )


def _widened(footprint: Footprint, profile: ServingProfile) -> float:
    """Bytes of the loaded weights to those of the files: an engine converts plain weights to its `dtype`, packed ones
    it keeps.
    """
    by_type = footprint.weights_by_type
    stored = sum(by_type.values())
    if profile.width is None or footprint.quantization is not None or not stored:
        return 1.0
    return sum(size * profile.width / STORED_WIDTH.get(kind, profile.width) for kind, size in by_type.items()) / stored


def _working(footprint: Footprint, profile: ServingProfile) -> int:
    """An estimate: the inputs of a layer for every token of a batch, and the scores over the vocabulary."""
    width, inner = footprint.width or 0, footprint.inner or 0
    layer = profile.batched * (4 * width + 2 * inner // profile.tensor) * 2
    scores = profile.sequences * (footprint.vocabulary or 0) * 4 // profile.tensor
    return RUNTIME_BYTES + (NCCL_BYTES if profile.tensor * profile.pipeline > 1 else 0) + layer + scores


def _groups(footprint: Footprint, profile: ServingProfile) -> Iterator[tuple[KvCacheGroup, float]]:
    """Groups of layers, and how many numbers of each a GPU keeps."""
    for group in footprint.kv_cache or ():
        own = group.values / min(profile.tensor, group.splits)
        yield group, own * -(-group.layers // profile.pipeline)


def _cache_bytes(footprint: Footprint, profile: ServingProfile, tokens: int) -> int | None:
    if footprint.kv_cache is None:
        return None
    total = 0.0
    for group, numbers in _groups(footprint, profile):
        if group.kind == "full":
            total += numbers * tokens
        elif group.kind == "window":  # tokens in flight are kept beside the window
            total += numbers * min(tokens, (group.window or 1) - 1 + profile.batched)
    return int(total * profile.cache_width)


def _state_bytes(footprint: Footprint, profile: ServingProfile) -> int | None:
    if footprint.kv_cache is None:
        return None
    return int(sum(numbers for group, numbers in _groups(footprint, profile) if group.kind == "state") * STATE_WIDTH)


def longest_context(footprint: Footprint, profile: ServingProfile, memory_bytes: int) -> int:
    """The longest context, in steps of 1,024 tokens, of which one request has room; 0: none."""
    most = profile.context or footprint.context or 0
    low, high = 0, most // ROUND
    while low < high:
        middle = (low + high + 1) // 2
        if memory_fit(footprint, replace(profile, context=middle * ROUND), memory_bytes).verdict == "no":
            high = middle - 1
        else:
            low = middle
    return low * ROUND


def suggestions(footprint: Footprint, profile: ServingProfile, memory_bytes: int, gpus: int) -> list[str]:
    """Suggestions that would have room, in words that can be written into `models.yml`; the least change first."""
    suggested: list[str] = []

    def has(other: ServingProfile) -> bool:
        return memory_fit(footprint, other, memory_bytes).verdict in ("fits", "tight")

    if profile.utilization < MOST and has(replace(profile, utilization=MOST)):
        suggested.append(f"gpu_memory_utilization: {MOST}")
    context = longest_context(footprint, profile, memory_bytes)
    if context and context < (profile.context or footprint.context or 0):
        suggested.append(f"max_model_len: {context}")
    if profile.cache_width > 1 and has(replace(profile, cache_width=1)):
        suggested.append("options: {kv-cache-dtype: fp8}")
    heads = footprint.heads or 1
    sizes = [size for size in range(profile.tensor + 1, gpus + 1) if heads % size == 0]
    more = next((size for size in sizes if has(replace(profile, tensor=size))), None)
    if more is not None:
        suggested.append(f"tensor_parallel_size: {more}")
    wide = {"BF16", "F16", "F32"} & set(footprint.weights_by_type)
    if wide and footprint.quantization is None:
        widest = 4 if "F32" in wide else 2
        for bits, name in ((8, "8-bit (FP8)"), (4, "4-bit (AWQ, GPTQ)")):
            if has(replace(profile, weights_share=bits / 8 / widest * (1.0 if bits == 8 else 1.15))):
                suggested.append(f"a version with {name} weights")
                break
    if not suggested and sizes:
        context = longest_context(footprint, replace(profile, tensor=sizes[-1]), memory_bytes)
        if context:
            suggested.append(f"tensor_parallel_size: {sizes[-1]} with max_model_len: {context}")
    return suggested
