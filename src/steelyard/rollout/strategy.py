"""Strategies to move a service to another version, and what each will cost. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from steelyard.errors import StrategyUnknown
from steelyard.models.content.manifest import Manifest
from steelyard.serving.kinds import KINDS
from steelyard.site.schema import Serve
from steelyard_host.wire.rollout import Strategy, SwitchState

AUTO = "auto"  # --strategy: the least wait that is safe, host by host
STRATEGIES: tuple[str, ...] = (AUTO, *(strategy.value for strategy in Strategy))
UNKNOWN_START_S = 300.0  # for a service that was never seen starting
SPARE = 1.5  # a start may take so much longer than the last one did


def parse_strategy(name: str) -> Strategy | None:
    """The strategy that --strategy names; None for `auto`. Raises StrategyUnknown."""
    if name not in STRATEGIES:
        raise StrategyUnknown(where="--strategy", strategy=name, allowed=", ".join(STRATEGIES))
    return Strategy(name) if name != AUTO else None


def why_not_reload(before: Manifest, after: Manifest, serve: Serve) -> str | None:
    """Return why an engine cannot take the weights of `after` in place; None where it can.

    In place it reads weights and nothing else: tokenizer, template and configuration stay as they were read at its
    start.
    """
    if not KINDS[serve.engine].reloads:
        return f"{KINDS[serve.engine].title} reads weights at its start only"
    if "quantization" in serve.options_by_name():
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
    """Form of every tensor by name; which file it lies in does not matter."""
    return {name: tensor.form for tensors in manifest.tensors.values() for name, tensor in tensors.items()}


def choose_strategy(
    asked: Strategy | None, not_in_place: str | None, no_surge: str | None, no_sleep: str | None, others: int
) -> Strategy:
    """The strategy that was asked for, or what `auto` (None) takes; the reasons say what is out of the question.

    In place where that is safe; else, where no other service of the alias answers (`others`), a second engine beside
    the first if the host has room for one, or with the first asleep if it can sleep.
    """
    if asked is not None:
        return asked
    if not_in_place is None:
        return Strategy.RELOAD
    if others:
        return Strategy.SWAP
    return Strategy.SURGE if no_surge is None else Strategy.SLEEP_SWAP if no_sleep is None else Strategy.SWAP


@dataclass(frozen=True)
class Prediction:
    """The cost of a host's switch: `gap_s` nobody is answered by it; None where nothing is known to say it from."""

    strategy: Strategy
    gap_s: float | None
    others: int  # services of the alias that answer meanwhile

    @classmethod
    def of(cls, strategy: Strategy, state: SwitchState, others: int) -> Prediction:
        """The prediction from what the host said of the service's last start."""
        if strategy is Strategy.SURGE:
            return cls(strategy, 0.0, others)
        return cls(strategy, state.weights_s if strategy is Strategy.RELOAD else state.start_s, others)

    def too_long(self, hold_s: int) -> float | None:
        """Seconds that requests would have to wait where that is longer than the gateway holds them, else None."""
        if self.others or self.strategy in (Strategy.RELOAD, Strategy.SURGE):
            return None
        wait = SPARE * (self.gap_s if self.gap_s is not None else UNKNOWN_START_S)
        return wait if wait > hold_s else None
