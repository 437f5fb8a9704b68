"""The way of loading a host's engine is fastest there, out of measured samples. Pure.

A way is chosen only where it beats the engine's default beyond noise: at least a tenth faster by the median of the
pairs measured beside each other, and faster in every pair but one of four. So the choice never loses to the default.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import NamedTuple, TypedDict, cast

from steelyard_host.wire.codec import WireError, from_json
from steelyard_host.wire.relay import Failed

DEFAULT, SHARDED = "default", "sharded"  # the latter is other files, which a model's declaration asks for
GAIN = 0.9  # of the default's time
CACHES = ("cold", "warm")
MEMORY_SHARE = 0.8  # of a host's memory that a version may take and still be warm


Options = dict[str, str | int | float | bool]  # of an engine's configuration file


class MeasuredOn(TypedDict):
    """The engine's folder, torch's version, the device and the number of GPUs that loads were measured on."""

    engine: str
    torch: str
    device: str
    ranks: int


class ProbeHead(NamedTuple):
    """The probe's first line: what it measures on, as in MeasuredOn, and the options of each strategy by name."""

    engine: str
    torch: str
    device: str
    ranks: int
    strategies: dict[str, dict[str, object]]

    @property
    def measured_on(self) -> MeasuredOn:
        """The part that facts and documents say too."""
        return {"engine": self.engine, "torch": self.torch, "device": self.device, "ranks": self.ranks}


class Sample(NamedTuple):
    """A further line of the probe: one load in seconds with this cache (cold, warm), or the error of a strategy."""

    strategy: str
    cache: str
    seconds: float | None = None
    error: str | None = None


def probe_line(document: object) -> ProbeHead | Sample | Failed | None:
    """The declared value of a line of the probe, or of its helper's last words; None for any other.

    Raises WireError.
    """
    if not isinstance(document, dict):
        raise WireError("", "an object is expected")
    if "strategies" in document:
        return from_json(ProbeHead, document)
    if "strategy" in document:
        return from_json(Sample, document)
    return from_json(Failed, document) if "error" in document else None


class LoadChoice(TypedDict):
    """The strategy that is fastest with one cache, and its options."""

    strategy: str
    options: Options


class EngineLoads(MeasuredOn):
    """The facts of one engine that a host keeps: the choice by cache, and what it was made of.

    `bytes`: size of the version that was measured; `medians`: seconds by `STRATEGY/CACHE`.
    """

    cold: LoadChoice
    warm: LoadChoice
    model: str
    model_version: str
    bytes: int
    medians: dict[str, float]


class HostLoads(TypedDict, total=False):
    """The helper's answer to `load-facts`: the host's memory, and the facts of engines by their folder's name."""

    memory_bytes: int
    engines: dict[str, EngineLoads]


@dataclass
class Measured:
    """The samples of one host, as the probe tells them; seconds, in the order they were taken."""

    head: ProbeHead
    samples: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)

    def take(self, sample: Sample) -> None:
        """Add one line of the probe."""
        if sample.seconds is None:
            self.errors[sample.strategy] = sample.error or "it said no time"
        else:
            self.samples.setdefault((sample.strategy, sample.cache), []).append(sample.seconds)

    def median(self, strategy: str, cache: str) -> float | None:
        """The median of a strategy's seconds with one cache; None where it has none, or failed."""
        samples = self.samples.get((strategy, cache))
        return statistics.median(samples) if samples and strategy not in self.errors else None

    def ratio(self, strategy: str, cache: str, to: tuple[str, str] | None = None) -> float | None:
        """Median of the pairs' ratios to the default in the same cache, or to `to`."""
        pairs = self._pairs(strategy, cache, to or (DEFAULT, cache))
        return statistics.median(pairs) if pairs else None

    def _pairs(self, strategy: str, cache: str, to: tuple[str, str]) -> list[float]:
        mine, others = self.samples.get((strategy, cache), []), self.samples.get(to, [])
        return (
            [first / second for first, second in zip(mine, others, strict=False)] if strategy not in self.errors else []
        )

    def winner(self, cache: str) -> str:
        """The fastest that beats the default beyond noise; else the default."""
        best, at = DEFAULT, GAIN
        for strategy in self.head.strategies:
            pairs = self._pairs(strategy, cache, (DEFAULT, cache))
            if strategy in (DEFAULT, SHARDED) or not pairs:
                continue
            wins = sum(pair < 1 for pair in pairs)
            if statistics.median(pairs) <= at and wins >= len(pairs) * 3 / 4:
                best, at = strategy, statistics.median(pairs)
        return best

    def as_facts(self, model: str, version: str, size: int) -> EngineLoads:
        """The choice as the host keeps it: with its options, and what it was made of."""
        medians = {
            f"{strategy}/{cache}": round(statistics.median(samples), 4)
            for (strategy, cache), samples in self.samples.items()
        }
        return {
            **self.head.measured_on,
            "cold": self._choice("cold"),
            "warm": self._choice("warm"),
            "model": model,
            "model_version": version,
            "bytes": size,
            "medians": medians,
        }

    def _choice(self, cache: str) -> LoadChoice:
        strategy = self.winner(cache)
        return {"strategy": strategy, "options": cast(Options, self.head.strategies[strategy])}


def chosen_options(facts: HostLoads | None, engine: str) -> Options:
    """Options of an engine's configuration file, out of the helper's `load-facts`; none where it was not measured.

    What fits into memory is warm when its engine maps it, because its warm-up began before; what does not is read from
    the disk. The largest version, which was measured, stands for all of a host.
    """
    known: HostLoads = facts or {}
    measured = (known.get("engines") or {}).get(engine)
    if not measured:
        return {}
    fits = int(measured.get("bytes", 0)) < MEMORY_SHARE * int(known.get("memory_bytes", 0))
    choice: LoadChoice | None = measured.get("warm") if fits else measured.get("cold")
    options = (choice.get("options") if choice else None) or {}
    return {name.replace("_", "-"): value for name, value in options.items()}
