"""Rows of the fault matrix in a file, each as it comes: hours of measuring are not lost with a run that is cut short.

Such a run goes on where it was, as long as nothing changed of what was measured; a row that failed is measured again.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .fault_rows import Row

ROOT = Path(__file__).parents[2]
MEASURED = ("src", "roles", "modules", "deploy", "tests/lab/rollout", "tests/support")


def sources() -> str:
    """Names the code that is measured."""
    digest = hashlib.sha256()
    for path in sorted(path for name in MEASURED for path in (ROOT / name).rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts and ".egg-info" not in str(path):
            digest.update(f"{path.relative_to(ROOT)}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


class Table:
    def __init__(self, path: Path | None) -> None:
        """None: rows are not kept."""
        self.path, self.of = path, sources()
        self.rows: list[dict[str, Any]] = []
        if path is not None and path.exists():
            known = json.loads(path.read_text())
            self.rows = known["rows"] if known["of"] == self.of else []

    def passed(self) -> set[tuple[str, str]]:
        return {(row["strategy"], row["fault"]) for row in self.rows if row["passed"]}

    def keep(self, row: Row, passed: bool) -> None:
        measured = {(kept["strategy"], kept["fault"]): kept for kept in self.rows}
        measured[row.strategy, row.fault] = {
            **asdict(row),
            "passed": passed,
        }  # one that is measured again keeps its place
        self.rows = list(measured.values())
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text(json.dumps({"of": self.of, "rows": self.rows}, indent=1))
