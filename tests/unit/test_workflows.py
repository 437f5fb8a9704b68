"""Use cases run without a terminal: they take values and an emitter, and what people see is made elsewhere."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
FILES = sorted((ROOT / "src/steelyard/workflows").rglob("*.py"))


def imported(tree: ast.Module) -> set[str]:
    """Dotted names, those for type checking and inside functions too."""
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    return names | {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_use_case_prints_asks_or_knows_a_screen(path: Path) -> None:
    tree = ast.parse(path.read_text())
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    called = {function.id for function in calls if isinstance(function, ast.Name)}
    assert called & {"print", "input"} == set()
    assert [name for name in imported(tree) if name.startswith(("steelyard.render", "steelyard.cli", "typer"))] == []
    assert "stdin.isatty" not in path.read_text()
