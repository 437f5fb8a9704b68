"""The facts a deploy asked a host for last time, kept on the controller so that they can go out as one script.

Commands only, never answers; commands with a password in them are never noted (the connector keeps them away).
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from steelyard.cache import cache_folder, write_private


@dataclass
class PrefetchList:
    """`wanted` is what the last run asked; `asked` what this one asks. A missing or torn file is an empty list."""

    path: Path
    wanted: tuple[str, ...] = ()
    asked: dict[str, None] = field(default_factory=dict)

    @classmethod
    def of(cls, state: Any, host: Any) -> PrefetchList:
        """The list of one host and one deploy file."""
        checking = host.data.get("file_check") is not None  # drift asks more than a plan
        key = f"{state.current_deploy_filename}\n{host.name}\n{host.data.get('ssh_hostname')}\n{checking}"
        path = cache_folder() / "prefetch" / (hashlib.sha256(key.encode()).hexdigest()[:32] + ".json")
        try:
            wanted = json.loads(path.read_text())
            return cls(path, tuple(str(command) for command in wanted))
        except (OSError, ValueError, TypeError):
            return cls(path)

    @classmethod
    def nowhere(cls) -> PrefetchList:
        """An empty list that is never written: before a connection."""
        return cls(Path(os.devnull))

    def after(self, command: str) -> list[str]:
        """What this run asked after `command` while it planned, in order."""
        asked = list(self.asked)
        return asked[asked.index(command) + 1 :] if command in self.asked else []

    def note(self, command: str) -> None:
        self.asked[command] = None

    def save(self) -> None:
        """Write what this run asked where it differs; losing it costs a few round trips, so errors do not matter."""
        asked = tuple(self.asked)
        if asked == self.wanted or not asked or self.path == Path(os.devnull):
            return
        try:
            write_private(self.path, json.dumps(asked).encode())
        except OSError:
            return
