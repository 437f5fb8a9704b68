"""Whether a version has room on the GPUs of a service, with the numbers, and what else would. Pure.

An engine takes `utilization` of each GPU's memory. Of that, weights and what it works with go first; what is left keeps the
context. It does not start where one request of the longest context has no room (facts: store.md section 6). Weights and
context are exact to a percent or two; what the engine works with is an estimate and named so.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

GIB = 1 << 30
RUNTIME_BYTES = 6 * GIB // 10  # what CUDA takes before anything is loaded, with graphs of a small engine
NCCL_BYTES = 4 * GIB // 10  # buffers between GPUs
BATCHED = 8192  # tokens that an engine computes at once at most, by its default
SEQUENCES = 256  # requests it answers at once at most, by its default
STATE_WIDTH = 4  # bytes; engines keep states in the widest type they use
TIGHT = 0.05  # of the memory: an estimate is not better than that
MOST = 0.95  # of a GPU that an engine should take
ROUND = 1024  # tokens; contexts are suggested in such steps


@dataclass(frozen=True)
class Wish:
    """How a service wants to run a version. `context` None: the model's own; `cache_width`: bytes of a kept number."""

    tensor: int = 1
    pipeline: int = 1
    utilization: float = 0.9
    context: int | None = None
    cache_width: int = 2
    batched: int = BATCHED
    sequences: int = SEQUENCES
    weights_share: float = 1.0  # of their bytes; less where weights of fewer bits are thought of

    @classmethod
    def of(cls, serve: Any) -> Wish:
        """From `models.yml`; options of the engine's own file count."""
        given = serve.options
        return cls(
            tensor=serve.tensor_parallel_size,
            pipeline=serve.pipeline_parallel_size,
            utilization=number(given, "gpu-memory-utilization", serve.gpu_memory_utilization),
            context=serve.max_model_len or int(number(given, "max-model-len", 0)) or None,
            cache_width=1 if str(given.get("kv-cache-dtype", "auto")).startswith("fp8") else 2,
            batched=int(number(given, "max-num-batched-tokens", BATCHED)),
            sequences=int(number(given, "max-num-seqs", SEQUENCES)),
        )


def number(given: Mapping[str, Any], name: str, default: float) -> float:
    """An option that may be anything: what is no positive number is the engine's to refuse."""
    try:
        found = float(given[name])
    except (KeyError, TypeError, ValueError):
        return default
    return found if 0 < found < math.inf else default


@dataclass(frozen=True)
class Room:
    """Bytes per GPU. `request_bytes`: one request of the whole context. None: the version's files do not tell."""

    context: int | None
    memory_bytes: int
    budget_bytes: int
    weights_bytes: int
    working_bytes: int
    token_bytes: int | None
    request_bytes: int | None

    @property
    def left_bytes(self) -> int:
        """What keeps the context; negative where not even the weights have room."""
        return self.budget_bytes - self.weights_bytes - self.working_bytes

    @property
    def at_once(self) -> float | None:
        """Requests of the whole context that have room at the same time."""
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


def room(figures: dict[str, Any], wish: Wish, memory_bytes: int) -> Room:
    """A version as `fit.figures` describes it, on GPUs of `memory_bytes` each."""
    context = wish.context or figures.get("context")
    token, state = _kept_bytes(figures, wish, 1), _state_bytes(figures, wish)
    request = _kept_bytes(figures, wish, context) if context else None
    return Room(
        context,
        memory_bytes,
        int(memory_bytes * wish.utilization),
        _weights(figures, wish),
        _working(figures, wish),
        token,
        request + state if request is not None and state is not None else None,
    )


def _weights(figures: dict[str, Any], wish: Wish) -> int:
    whole, outside = figures.get("whole_bytes", 0), figures.get("outside_bytes", 0)
    inside = figures["weights_bytes"] - outside - whole
    layers = figures.get("layers") or 1
    share = -(-layers // wish.pipeline) / layers  # of the layers, on the stage that has most
    return int(((max(0, inside) / wish.tensor + whole) * share + outside / wish.tensor) * wish.weights_share)


def _working(figures: dict[str, Any], wish: Wish) -> int:
    """An estimate: the inputs of a layer for every token of a batch, and the scores over the vocabulary."""
    width, inner = figures.get("width") or 0, figures.get("inner") or 0
    layer = wish.batched * (4 * width + 2 * inner // wish.tensor) * 2
    scores = wish.sequences * (figures.get("vocabulary") or 0) * 4 // wish.tensor
    return RUNTIME_BYTES + (NCCL_BYTES if wish.tensor * wish.pipeline > 1 else 0) + layer + scores


def _groups(figures: dict[str, Any], wish: Wish) -> Iterator[tuple[dict[str, Any], float]]:
    """Groups of layers, and how many numbers of each a GPU keeps."""
    for group in figures["kept"]:
        own = group["values"] / min(wish.tensor, group["splits"])
        yield group, own * -(-group["layers"] // wish.pipeline)


def _kept_bytes(figures: dict[str, Any], wish: Wish, tokens: int) -> int | None:
    if figures.get("kept") is None:
        return None
    total = 0.0
    for group, numbers in _groups(figures, wish):
        if group["kind"] == "full":
            total += numbers * tokens
        elif group["kind"] == "window":  # tokens in flight are kept beside the window
            total += numbers * min(tokens, group["window"] - 1 + wish.batched)
    return int(total * wish.cache_width)


def _state_bytes(figures: dict[str, Any], wish: Wish) -> int | None:
    if figures.get("kept") is None:
        return None
    return int(sum(numbers for group, numbers in _groups(figures, wish) if group["kind"] == "state") * STATE_WIDTH)


def longest_context(figures: dict[str, Any], wish: Wish, memory_bytes: int) -> int:
    """The longest context, in steps of 1,024 tokens, of which one request has room; 0: none."""
    most = wish.context or figures.get("context") or 0
    low, high = 0, most // ROUND
    while low < high:
        middle = (low + high + 1) // 2
        if room(figures, replace(wish, context=middle * ROUND), memory_bytes).verdict == "no":
            high = middle - 1
        else:
            low = middle
    return low * ROUND


def ways(figures: dict[str, Any], wish: Wish, memory_bytes: int, gpus: int) -> list[str]:
    """What would have room, in words that can be written into `models.yml`; the least change first."""
    found: list[str] = []

    def has(other: Wish) -> bool:
        return room(figures, other, memory_bytes).verdict in ("fits", "tight")

    if wish.utilization < MOST and has(replace(wish, utilization=MOST)):
        found.append(f"gpu_memory_utilization: {MOST}")
    context = longest_context(figures, wish, memory_bytes)
    if context and context < (wish.context or figures.get("context") or 0):
        found.append(f"max_model_len: {context}")
    if wish.cache_width > 1 and has(replace(wish, cache_width=1)):
        found.append("options: {kv-cache-dtype: fp8}")
    heads = figures.get("heads") or 1
    sizes = [size for size in range(wish.tensor + 1, gpus + 1) if heads % size == 0]
    more = next((size for size in sizes if has(replace(wish, tensor=size))), None)
    if more is not None:
        found.append(f"tensor_parallel_size: {more}")
    wide = {"BF16", "F16", "F32"} & set(figures.get("weights_by_type", {}))
    if wide and figures.get("quantization") is None:
        widest = 4 if "F32" in wide else 2
        for bits, name in ((8, "8-bit (FP8)"), (4, "4-bit (AWQ, GPTQ)")):
            if has(replace(wish, weights_share=bits / 8 / widest * (1.0 if bits == 8 else 1.15))):
                found.append(f"a version with {name} weights")
                break
    if not found and sizes:
        context = longest_context(figures, replace(wish, tensor=sizes[-1]), memory_bytes)
        if context:
            found.append(f"tensor_parallel_size: {sizes[-1]} with max_model_len: {context}")
    return found
