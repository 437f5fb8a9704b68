"""Sums the figures of the tests in tests/lab/hands: `make test-hands` ends with the line that this prints."""

from __future__ import annotations

import json
import sys
from pathlib import Path

FIGURES = (
    "interrupts",
    "went_on",
    "unresumable",
    "restarts_under_load",
    "rotations",
    "removals",
    "left_references",
    "failed_requests",
)


def summed(lines: list[str]) -> dict[str, int]:
    """Every figure, in the order in which they are shown."""
    counted = [json.loads(line) for line in lines]
    unknown = {name for entry in counted for name in entry} - set(FIGURES)
    assert not unknown, f"figures that nobody shows: {sorted(unknown)}"
    return {name: sum(entry.get(name, 0) for entry in counted) for name in FIGURES}


if __name__ == "__main__":
    path = Path(sys.argv[1])
    print(json.dumps(summed(path.read_text().splitlines() if path.exists() else [])))
