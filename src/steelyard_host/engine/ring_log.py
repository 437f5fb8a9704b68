"""The last so many records of a service, in a file of their own; kept over reboots."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from steelyard_host.system import json_file


def read(folder: Path, service: str) -> list[Any]:
    """Records of a service, oldest first; empty where nothing was recorded yet, or what is there cannot be read."""
    entries = json_file.read(folder / (service + ".json"))
    return entries if isinstance(entries, list) else []


def add(folder: Path, service: str, entry: Any, most: int) -> None:
    """A record behind the others, of which the oldest go where there are more than `most`. Raises OSError."""
    json_file.write_atomically(folder / (service + ".json"), [*read(folder, service), entry][-most:])
