"""Writes docs/contributing/modules.md: every module in one line, as its docstring begins; a room's heads its table."""

from __future__ import annotations

import ast
from itertools import groupby
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDERS = ("deploy", "roles", "modules", "src/steelyard", "src/steelyard_host", "src/dify_double", "tools")
INTRO = """# Modules

Every module in one line, by the folder that it lies in. [Architecture](architecture.md) says what the rooms are for and
which may import which.
"""


def summary(text: str) -> str:
    """First paragraph of a module's docstring as one line of a table; empty where it has none."""
    docstring = ast.get_docstring(ast.parse(text)) or ""
    return " ".join(docstring.split("\n\n")[0].split()).replace("|", "\\|")


def modules_page(root: Path = ROOT) -> str:
    """The page. A folder without a module but its `__init__.py` is left out."""
    parts = [INTRO]
    files = [path for folder in FOLDERS for path in sorted((root / folder).rglob("*.py"), key=_by_folder)]
    for folder, paths in groupby(files, key=lambda path: path.parent):
        rows = [(path.name, summary(path.read_text())) for path in paths if path.name != "__init__.py"]
        if rows:
            parts.append(f"## {folder.relative_to(root)}\n")
            head = folder / "__init__.py"
            if head.exists() and (text := summary(head.read_text())):
                parts.append(f"{text}\n")
            parts.append("| module | what |\n|---|---|")
            parts += [f"| `{name}` | {text} |" for name, text in rows]
            parts.append("")
    return "\n".join(parts)


def _by_folder(path: Path) -> tuple[str, str]:
    return str(path.parent), path.name
