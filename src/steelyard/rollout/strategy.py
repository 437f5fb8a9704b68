"""How a service is moved to another version, and what that will cost. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

from steelyard.models.manifest import Manifest
from steelyard.serving.kinds import KINDS
from steelyard.site import Serve

Strategy = Literal["reload", "sleep-swap", "surge", "swap"]
STRATEGIES: tuple[str, ...] = ("auto", "reload", "sleep-swap", "surge", "swap")
UNKNOWN_START_S = 300.0  # for a service that was never seen starting
SPARE = 1.5  # a start may take so much longer than the last one did


def why_not_reload(before: Manifest, after: Manifest, serve: Serve) -> str | None:
    """Why an engine cannot take the weights of `after` in place; None where it can.

    In place it reads weights and nothing else: tokenizer, template and configuration stay as they were read at its start.
    """
    if not KINDS[serve.engine].reloads:
        return f"{KINDS[serve.engine].title} reads weights at its start only"
    if "quantization" in serve.options:
        return "its weights are quantized while they are loaded"

    def others(manifest: Manifest) -> dict[str, str]:
        return {
            name: file.sha256
            for name, file in manifest.files.items()
            if not name.endswith((".safetensors", ".safetensors.index.json", ".md"))
        }

    mine, theirs = others(before), others(after)
    different = sorted(name for name in mine.keys() | theirs.keys() if mine.get(name) != theirs.get(name))
    if different:
        return f"{different[0]} is another one" + (f", and {len(different) - 1} more" if len(different) > 1 else "")
    if _shapes(before) != _shapes(after):
        return "its tensors have other names, shapes or types"
    return None


def _shapes(manifest: Manifest) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Of every tensor; which file it lies in does not matter."""
    return {
        name: (tensor["dtype"], tuple(tensor["shape"]))
        for tensors in manifest.tensors.values()
        for name, tensor in tensors.items()
    }


def chosen(asked: str, not_in_place: str | None, no_surge: str | None, no_sleep: str | None, others: int) -> Strategy:
    """What `auto` takes: in place where that is safe; else, where nobody else answers, a second engine beside the first if the host has
    room for one, or with the first asleep if it can sleep.
    """
    if asked in get_args(Strategy):
        return cast(Strategy, asked)
    if not_in_place is None:
        return "reload"
    if others:
        return "swap"
    return "surge" if no_surge is None else "sleep-swap" if no_sleep is None else "swap"


@dataclass(frozen=True)
class Prediction:
    """What a host's switch will cost: `gap_s` nobody is answered by it; None where nothing is known to say it from."""

    strategy: Strategy
    gap_s: float | None
    others: int  # services of the alias that answer meanwhile

    @classmethod
    def of(cls, strategy: Strategy, state: dict[str, Any], others: int) -> Prediction:
        """From what the host said of the service's last start."""
        if strategy == "surge":
            return cls(strategy, 0.0, others)
        known = state.get("weights_s" if strategy == "reload" else "start_s")
        return cls(strategy, float(known) if known is not None else None, others)

    def too_long(self, hold_s: int) -> float | None:
        """Seconds that requests would have to wait where that is longer than the gateway holds them; None where all is well."""
        if self.others or self.strategy in ("reload", "surge"):
            return None
        wait = SPARE * (self.gap_s if self.gap_s is not None else UNKNOWN_START_S)
        return wait if wait > hold_s else None
