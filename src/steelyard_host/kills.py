"""When the watch killed an engine of this host, and why; kept over reboots."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

RECORDS = Path("/var/lib/steelyard/watch")
KEPT = 20  # of a service


def note(service: str, why: str) -> None:
    path = RECORDS / (service + ".json")
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_text(json.dumps([*read(service), {"at": round(time.time(), 3), "why": why}][-KEPT:]))
    os.replace(new, path)


def read(service: str) -> list[dict[str, Any]]:
    """Oldest first; `at` in seconds of the epoch."""
    try:
        found = json.loads((RECORDS / (service + ".json")).read_text())
    except (OSError, ValueError):
        return []
    return found if isinstance(found, list) else []
