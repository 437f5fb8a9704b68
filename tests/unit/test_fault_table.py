"""The fault matrix' rows in a file: a run that was cut goes on, with the same code only, and measures again what
failed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest
from support import fault_table


@dataclass
class Row:
    """As the table sees one."""

    strategy: str
    fault: str
    failed: int = 0


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The module, with a project of its own to measure."""
    (tmp_path / "src").mkdir()
    (tmp_path / "src/switch.py").write_text("old")
    monkeypatch.setattr(fault_table, "ROOT", tmp_path)
    return fault_table


def test_a_cut_run_goes_on_where_it_was(table: ModuleType, tmp_path: Path) -> None:
    kept = tmp_path / "build/faults.json"
    first = table.Table(kept)
    first.keep(Row("swap", "none"), passed=True)
    first.keep(Row("swap", "disk full", failed=1), passed=False)
    first.keep(Row("surge", "none"), passed=True)
    second = table.Table(kept)
    assert second.passed() == {("swap", "none"), ("surge", "none")}
    second.keep(Row("swap", "disk full"), passed=True)
    assert table.Table(kept).passed() == {("swap", "none"), ("swap", "disk full"), ("surge", "none")}
    assert [(row["strategy"], row["fault"], row["failed"]) for row in second.rows] == [
        ("swap", "none", 0),
        ("swap", "disk full", 0),
        ("surge", "none", 0),
    ]


@pytest.mark.parametrize(
    ("path", "counts"),
    [("src/switch.py", True), ("src/new.py", True), ("src/__pycache__/x.py", False), ("docs/x.md", False)],
)
def test_rows_of_other_code_do_not_count(table: ModuleType, tmp_path: Path, path: str, counts: bool) -> None:
    kept = tmp_path / "build/faults.json"
    table.Table(kept).keep(Row("swap", "none"), passed=True)
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / path).write_text("new")
    assert table.Table(kept).passed() == (set() if counts else {("swap", "none")})


def test_without_a_file_nothing_is_kept(table: ModuleType, tmp_path: Path) -> None:
    table.Table(None).keep(Row("swap", "none"), passed=True)
    assert [path.name for path in tmp_path.iterdir()] == ["src"]
