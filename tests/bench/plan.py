"""What a plan of 500 hosts with 200 tasks each costs to be shown: the summary, and every command; CPU seconds, no host.

`python tests/bench/plan.py [RUNS]`. The last line is one JSON object: medians of the runs, and lines printed.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from support import plans  # noqa: E402

from steelyard.render.plan_details import detail_lines  # noqa: E402
from steelyard.render.plan_summary import summary_lines  # noqa: E402
from steelyard.render.screen import Screen  # noqa: E402
from steelyard.render.width import MarkedLine  # noqa: E402

HOSTS, TASKS = 500, 200


def median_s(work: Callable[[], list[MarkedLine]], runs: int) -> tuple[float, int]:
    """CPU seconds of the median run, and how many lines it made."""
    seconds, lines = [], 0
    for _ in range(runs):
        began = time.process_time()
        lines = sum(1 + line.text.count("\n") for line in work())
        seconds.append(time.process_time() - began)
    return round(statistics.median(seconds), 3), lines


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    plan, screen = plans.alike(HOSTS, TASKS), Screen()
    figures: dict[str, float] = {"hosts": HOSTS, "tasks": TASKS}
    for name, work in (
        ("summary", lambda: summary_lines(plan, screen.clean)),
        ("details", lambda: detail_lines(plan, screen.said)),
    ):
        figures[f"{name}_cpu_s"], figures[f"{name}_lines"] = median_s(work, runs)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
