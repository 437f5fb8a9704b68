"""Writes docs/how-it-works/faults.md from what `make test-faults` measured; its last line is the figures in one JSON
line.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parent.parent / "docs/how-it-works/faults.md"
HEAD = """# The fault matrix

Written by `make test-faults`: on a real host with a real vLLM on CPU, an alias with one service moves from one
version to the next under a load of streaming and plain requests, while something is done to it. *Failed*: requests
without a whole answer that the rollout is to blame for. *On killed*: requests that were running on an engine which
the fault itself killed. *Mixed*: answers that neither version gives to that prompt. *Serves*: the one version that
serves afterwards, and that the host would come up with.

A host's clock is set off for steelyard's own program on it: hosts of the lab share their machine's, and the deadlines
of a switch are systemd's monotonic timers, which nobody sets. Where a gateway dies, two of them share an address;
what ran through it is counted as on killed, and clients whose connection is refused until the other one has the
address knock again: nothing was begun.

| strategy | fault | exit | serves | requests | failed | on killed | mixed | slowest |
|---|---|---|---|---|---|---|---|---|
"""


MARKS = {True: "", False: ": **not as it has to be**"}
STRATEGIES = ("reload", "swap", "sleep-swap", "surge")


def page(rows: list[dict[str, Any]]) -> str:
    """By strategy; within one, in the order of the run."""
    ordered = sorted(rows, key=lambda row: STRATEGIES.index(row["strategy"]))
    lines = [
        (
            "| {strategy} | {fault}{mark} | {exit} | {serves} | {requests} | {failed} | {in_flight_on_killed} "
            "| {mixed} | {slowest_s:.1f} s |"
        ).format(**row, mark=MARKS[row["passed"]])
        for row in ordered
    ]
    return HEAD + "\n".join(lines) + "\n"


def figures(rows: list[dict[str, Any]]) -> dict[str, int]:
    return {
        "rows": len(rows),
        "failed_requests": sum(row["failed"] for row in rows),
        "in_flight_on_killed": sum(row["in_flight_on_killed"] for row in rows),
        "mixed_version_answers": sum(row["mixed"] for row in rows),
        "unknown_end_states": sum(not row["known"] or row["serves"].startswith("two") for row in rows),
    }


if __name__ == "__main__":
    measured = json.loads(Path(sys.argv[1]).read_text())["rows"]
    PAGE.write_text(page(measured))
    for row in measured:
        if not row["passed"]:
            print(f"not as it has to be: {row['strategy']}, {row['fault']}")
    print(json.dumps(figures(measured)))
