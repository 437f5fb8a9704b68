"""Rollouts of an alias with one service, under load, on a lab of its own: failed requests, the gap, the longest wait.

`gap_s` is what the host measured: how long the engine gave nothing to anybody. `max_latency_s` is what the slowest client saw, beside
`calm_latency_s` with nothing done. `read_s` is how long the weights take to be read by the engine, as its last start recorded.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

LAB = Path(__file__).parent.parent / "lab"
sys.path[:0] = [str(LAB), str(LAB / "rollout")]

from conftest import Site, steelyard  # noqa: E402
from matrix import Ground, run_row  # noqa: E402

from steelyard.lab.record import require_lab  # noqa: E402

NAME = "bench-rollout"


def measured(ground: Ground) -> dict[str, dict[str, float]]:
    figures: dict[str, dict[str, float]] = {}
    for strategy in ("reload", "swap", "sleep-swap", "surge"):
        ground.settle("v1")
        with ground.load() as load:
            time.sleep(5)
        calm = load.counts.slowest_s
        row = run_row(ground, strategy, "none", lambda at, how: (at.roll("next", "--strategy", how).returncode, 0))
        assert (row.exit, row.serves) == (0, "next"), row
        switch = ground.state()["switch"]
        figures[strategy] = {
            "failed_requests": row.failed, "gap_s": switch["gap_s"], "max_latency_s": row.slowest_s, "calm_latency_s": calm,
            "requests": row.requests, "mixed": row.mixed, "read_s": ground.state()["weights_s"],
        }  # fmt: skip
        print(
            f"{strategy:10} {row.requests:4} requests, {row.failed} failed, {row.mixed} mixed   gap {switch['gap_s']:6.2f} s   "
            f"slowest {row.slowest_s:6.2f} s (calm {calm:.2f} s)   weights read in {figures[strategy]['read_s']:.2f} s"
        )
    return figures


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        inventory = Path(folder) / "inventory"
        steelyard("lab", "down", "--name", NAME)
        up = steelyard("lab", "up", "3", "--name", NAME, "--inventory", str(inventory))
        assert up.returncode == 0, up.stderr
        try:
            done = steelyard("apply", "-i", str(inventory), "--yes")
            assert done.returncode == 0, done.stdout + done.stderr
            ground = Ground.on(Site(require_lab(NAME, NAME), inventory), Path(folder))
            figures = measured(ground)
        finally:
            steelyard("lab", "down", "--name", NAME)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
