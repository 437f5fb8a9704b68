"""A log of the engines that the watchdog killed, and why; kept over reboots."""

from __future__ import annotations

import time
from pathlib import Path

from steelyard_host import paths
from steelyard_host.engine import ring_log
from steelyard_host.wire.codec import WireError, from_json, to_json
from steelyard_host.wire.services import Kill

RECORDS = Path(paths.KILL_RECORDS)
MOST = 20  # of a service


def note(service: str, why: str) -> None:
    """Records that the engine of `service` is killed now. Raises OSError."""
    ring_log.add(RECORDS, service, to_json(Kill(round(time.time(), 3), why)), MOST)


def read(service: str) -> tuple[Kill, ...]:
    """The last kills of a service, oldest first; empty where none was recorded, or what is there cannot be read."""
    try:
        return tuple(from_json(Kill, entry) for entry in ring_log.read(RECORDS, service))
    except WireError:
        return ()
