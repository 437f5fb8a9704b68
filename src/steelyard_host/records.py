"""The last so many records of a service, in a file of their own; kept over reboots."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def read(folder: Path, service: str) -> list[dict[str, Any]]:
    """Oldest first; empty where nothing was recorded yet, or what is there cannot be read."""
    try:
        found = json.loads((folder / (service + ".json")).read_text())
    except (OSError, ValueError):
        return []
    return found if isinstance(found, list) else []


def add(folder: Path, service: str, record: dict[str, Any], kept: int) -> None:
    """Behind the others, of which the oldest go. Raises OSError."""
    path = folder / (service + ".json")
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_text(json.dumps([*read(folder, service), record][-kept:]))
    os.replace(new, path)
