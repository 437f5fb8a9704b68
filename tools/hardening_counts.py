"""SECURITY.md's promises and their tests: `hardening_counts.py --tests` names the files, `hardening_counts.py JUNIT`
prints what a run of them counted, as one JSON line. It ends with 1 where a bar does not hold.

A finding is a row of its table, and mended where every test that the row names ran and passed.
"""

from __future__ import annotations

import json
import re
import sys
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "SECURITY.md"
# what a test counts by `record_property` -> the key that it has here
COUNTS = {
    "rounds": "races",
    "outside_writes": "outside_writes",
    "power_cuts": "power_cuts",
    "unknown_states": "unknown_states",
    "double_locks": "double_locks",
}
NONE_OF = ("outside_writes", "unknown_states", "double_locks")


def promises(page: str) -> list[tuple[str, ...]]:
    """Return the test files of each row of the page's table."""
    rows = [line for line in page.splitlines() if line.startswith("| ") and "`tests/" in line]
    return [tuple(re.findall(r"`(tests/[^`]+\.py)`", row)) for row in rows]


def outcomes(junit: Path) -> dict[str, set[str]]:
    """Return how the tests of each file ended: of passed, failed, skipped."""
    ended: dict[str, set[str]] = defaultdict(set)
    for case in ElementTree.parse(junit).iter("testcase"):
        inner = {child.tag for child in case}
        how = "failed" if inner & {"failure", "error"} else "skipped" if "skipped" in inner else "passed"
        ended[case.get("classname", "").replace(".", "/") + ".py"].add(how)
    return ended


def counted(junit: Path) -> dict[str, int]:
    """Return the sums of what tests recorded; a count that no test recorded is missing."""
    sums: dict[str, int] = {}
    for each in ElementTree.parse(junit).iter("property"):
        key = COUNTS.get(each.get("name", ""))
        if key is not None:
            sums[key] = sums.get(key, 0) + int(each.get("value", "0"))
    return sums


def main() -> int:
    rows = promises(PAGE.read_text())
    if sys.argv[1] == "--tests":
        print(" ".join(sorted({test for row in rows for test in row})))
        return 0
    junit = Path(sys.argv[1])
    ended, sums = outcomes(junit), counted(junit)
    mended = sum(all("passed" in ended[test] and "failed" not in ended[test] for test in row) for row in rows)
    print(json.dumps({"findings": len(rows), "mended": mended, **{key: sums.get(key) for key in COUNTS.values()}}))
    whole = set(sums) == set(COUNTS.values()) and not any(sums[key] for key in NONE_OF)
    return 0 if whole and mended == len(rows) else 1


if __name__ == "__main__":
    sys.exit(main())
