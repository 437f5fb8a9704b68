"""Rollouts of an alias with one service, under load, on a lab of its own: failed requests, the gap, the longest wait.

`gap_s` is what the host measured: how long the engine gave nothing to anybody. `max_latency_s` is what the slowest
client saw, beside `calm_latency_s` with nothing done. `read_s` is how long the weights take to be read by the engine,
as its last start recorded.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

from pages import write_block
from support.fault_rows import Ground, run_row
from support.lab_site import Site, steelyard

from steelyard.lab.nspawn.record import require_lab

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
            "failed_requests": row.failed,
            "gap_s": switch["gap_s"],
            "max_latency_s": row.slowest_s,
            "calm_latency_s": calm,
            "requests": row.requests,
            "mixed": row.mixed,
            "read_s": ground.state()["weights_s"],
        }
        print(
            f"{strategy:10} {row.requests:4} requests, {row.failed} failed, {row.mixed} mixed   gap "
            f"{switch['gap_s']:6.2f} s   "
            f"slowest {row.slowest_s:6.2f} s (calm {calm:.2f} s)   weights read in {figures[strategy]['read_s']:.2f} s"
        )
    return figures


def table(figures: dict[str, dict[str, float]]) -> str:
    """The figures as Markdown, for the page that shows them."""
    lines = [
        "| strategy | requests | failed | gap of the engine | slowest request | with nothing done | weights read in |",
        "|---|---|---|---|---|---|---|",
    ]
    for strategy, row in figures.items():
        gap = f"{row['gap_s']:.2f} s" if row["gap_s"] else "none"
        lines.append(
            f"| {strategy} | {row['requests']} | {row['failed_requests']} | {gap} | {row['max_latency_s']:.2f} s | "
            f"{row['calm_latency_s']:.2f} s | {row['read_s']:.2f} s |"
        )
    return "\n".join(lines)


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
    write_block("rollout", table(figures))
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
