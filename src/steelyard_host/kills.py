"""When the watch killed an engine of this host, and why; kept over reboots."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from steelyard_host import records

RECORDS = Path("/var/lib/steelyard/watch")
KEPT = 20  # of a service


def note(service: str, why: str) -> None:
    records.add(RECORDS, service, {"at": round(time.time(), 3), "why": why}, KEPT)


def read(service: str) -> list[dict[str, Any]]:
    """Oldest first; `at` in seconds of the epoch."""
    return records.read(RECORDS, service)
