"""The facts a deploy asked a host for last time, kept on the controller so that they can go out as one script.

Commands only, never answers; commands with a password in them are never noted (the connector keeps them away).
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from steelyard.dirs import cache_folder, write_private

if TYPE_CHECKING:
    from pyinfra.api.host import Host
    from pyinfra.api.state import State


@dataclass
class PrefetchList:
    """Facts of one host: `expected` is what the last run asked, `asked` what this one asks. A missing or torn file is
    an empty list.
    """

    path: Path
    expected: tuple[str, ...] = ()
    asked: dict[str, None] = field(default_factory=dict)

    @classmethod
    def of(cls, state: State, host: Host) -> PrefetchList:
        """Return the list of one host and one deploy file."""
        checking = host.data.get("file_check") is not None  # drift asks more than a plan
        key = f"{state.current_deploy_filename}\n{host.name}\n{host.data.get('ssh_hostname')}\n{checking}"
        path = cache_folder() / "prefetch" / (hashlib.sha256(key.encode()).hexdigest()[:32] + ".json")
        try:
            expected = json.loads(path.read_text())
            return cls(path, tuple(str(command) for command in expected))
        except (OSError, ValueError, TypeError):
            return cls(path)

    @classmethod
    def nowhere(cls) -> PrefetchList:
        """Return an empty list that is never written: before a connection."""
        return cls(Path(os.devnull))

    def after(self, command: str) -> list[str]:
        """Return what this run asked after `command` while it planned, in order."""
        asked = list(self.asked)
        return asked[asked.index(command) + 1 :] if command in self.asked else []

    def note(self, command: str) -> None:
        """Remember that this run asked it."""
        self.asked[command] = None

    def save(self) -> None:
        """Write what this run asked where it differs; losing it costs a few round trips, so errors do not matter."""
        asked = tuple(self.asked)
        if asked == self.expected or not asked or self.path == Path(os.devnull):
            return
        try:
            write_private(self.path, json.dumps(asked).encode())
        except OSError:
            return
