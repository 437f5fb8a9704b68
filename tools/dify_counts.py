"""Prints what the Dify tests counted, as one JSON line, from pytest's JUnit file. Ends with 1 where a bar does not
hold.
"""

from __future__ import annotations

import json
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

COUNTS = (
    "pairs_replayed",
    "pairs_matched",
    "second_run_writes",
    "manual_changes_injected",
    "manual_changes_found",
    "human_data_lost",
)


def main() -> int:
    counts = dict.fromkeys(COUNTS, 0)
    seen = set()
    for each in ElementTree.parse(Path(sys.argv[1])).iter("property"):
        name = each.get("name", "")
        if name in counts:
            seen.add(name)
            counts[name] += int(each.get("value", "0"))
    print(json.dumps(counts))
    whole = (
        counts["pairs_replayed"] == counts["pairs_matched"]
        and counts["manual_changes_injected"] == counts["manual_changes_found"]
    )
    harmless = counts["second_run_writes"] == 0 and counts["human_data_lost"] == 0
    return 0 if whole and harmless and seen == set(COUNTS) else 1


if __name__ == "__main__":
    sys.exit(main())
