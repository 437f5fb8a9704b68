"""Prints what good clients met beside each kind of abuse, as one JSON line, from what the tests kept. Ends with 1 where
one was failed, or waited more than twice as long as in calm.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

LONGEST = 2.0  # times the calm 95th percentile


def main() -> int:
    rows = [json.loads(line) for line in Path(sys.argv[1]).read_text().splitlines()]
    for row in rows:
        ratio = row["p95_ms"] / row["calm_p95_ms"]
        print(f"{row['kind']:36} {row['p95_ms']:7.1f} ms, calm {row['calm_p95_ms']:6.1f} ms: {ratio:4.2f}")
    worst = max(rows, key=lambda row: row["p95_ms"] / row["calm_p95_ms"])
    ratio = worst["p95_ms"] / worst["calm_p95_ms"]
    failed = sum(row["failed"] for row in rows)
    counts = {"kinds": len(rows), "asked": sum(row["asked"] for row in rows), "failed": failed}
    print(json.dumps({**counts, "worst": worst["kind"], "worst_p95_ratio": round(ratio, 2)}))
    return 0 if failed == 0 and ratio <= LONGEST else 1


if __name__ == "__main__":
    sys.exit(main())
