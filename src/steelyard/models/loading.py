"""Which way of loading a host's engine is fastest there, out of measured samples. Pure.

A way is chosen only where it beats the engine's default beyond noise: at least a tenth faster by the median of the pairs
measured beside each other, and faster in every pair but one of four. So the choice never loses to the default.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import Any

DEFAULT, SHARDED = "default", "sharded"  # the latter is other files, which a model's declaration asks for
GAIN = 0.9  # of the default's time
CACHES = ("cold", "warm")
MEMORY_SHARE = 0.8  # of a host's memory that a version may take and still be warm


@dataclass
class Measured:
    """Samples of one host, as the probe tells them; seconds, in the order they were taken."""

    head: dict[str, Any]
    samples: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)

    def take(self, said: dict[str, Any]) -> None:
        if "error" in said:
            self.errors[said["strategy"]] = said["error"]
        else:
            self.samples.setdefault((said["strategy"], said["cache"]), []).append(float(said["seconds"]))

    def median(self, strategy: str, cache: str) -> float | None:
        found = self.samples.get((strategy, cache))
        return statistics.median(found) if found and strategy not in self.errors else None

    def ratio(self, strategy: str, cache: str, to: tuple[str, str] | None = None) -> float | None:
        """Median of the pairs' ratios to the default in the same cache, or to `to`."""
        pairs = self._pairs(strategy, cache, to or (DEFAULT, cache))
        return statistics.median(pairs) if pairs else None

    def _pairs(self, strategy: str, cache: str, to: tuple[str, str]) -> list[float]:
        mine, others = self.samples.get((strategy, cache), []), self.samples.get(to, [])
        return [first / second for first, second in zip(mine, others, strict=False)] if strategy not in self.errors else []

    def winner(self, cache: str) -> str:
        """The fastest that beats the default beyond noise; else the default."""
        best, at = DEFAULT, GAIN
        for strategy in self.head["strategies"]:
            pairs = self._pairs(strategy, cache, (DEFAULT, cache))
            if strategy in (DEFAULT, SHARDED) or not pairs:
                continue
            wins = sum(pair < 1 for pair in pairs)
            if statistics.median(pairs) <= at and wins >= len(pairs) * 3 / 4:
                best, at = strategy, statistics.median(pairs)
        return best

    def as_facts(self, model: str, version: str, size: int) -> dict[str, Any]:
        """What the host keeps: the choice with its options, and what it was made of."""
        chosen = {
            cache: {"strategy": (name := self.winner(cache)), "options": self.head["strategies"][name]} for cache in CACHES
        }
        medians = {
            f"{strategy}/{cache}": round(statistics.median(found), 4) for (strategy, cache), found in self.samples.items()
        }
        about = {key: self.head[key] for key in ("engine", "torch", "device", "ranks")}
        return {**about, **chosen, "model": model, "model_version": version, "bytes": size, "medians": medians}


def chosen_options(facts: dict[str, Any] | None, engine: str) -> dict[str, Any]:
    """Options of an engine's configuration file, out of the helper's `load-facts`; none where nothing was measured with it.

    What fits into memory is warm when its engine maps it, because its warm-up began before; what does not is read from the disk.
    The largest version, which was measured, stands for all of a host.
    """
    measured = ((facts or {}).get("engines") or {}).get(engine) or {}
    fits = int(measured.get("bytes", 0)) < MEMORY_SHARE * int((facts or {}).get("memory_bytes", 0))
    found = measured.get("warm" if fits else "cold") or {}
    return {name.replace("_", "-"): value for name, value in (found.get("options") or {}).items()}
