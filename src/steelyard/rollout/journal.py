"""What a rollout is about to do, on disk before it is done. Hosts say what was done; this says what was meant."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from steelyard.cache import fleet_key, state_folder


@dataclass
class Journal:
    """Of one alias of one inventory: a head, and a line for each step. `resumed` takes up the last one."""

    path: Path
    head: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, inventory: Path, alias: str) -> Journal:
        name = re.sub(r"[^A-Za-z0-9._-]", "-", alias)
        return cls(state_folder() / "rollouts" / f"{fleet_key(inventory)}-{name}.jsonl")

    def begin(self, head: dict[str, Any]) -> None:
        """A new rollout takes the place of the last one."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.head = head
        self._write("w", head)

    def step(self, step: str, host: str = "") -> None:
        self._write("a", {"step": step, "host": host})

    def _write(self, mode: str, line: dict[str, Any]) -> None:
        with self.path.open(mode) as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def unfinished(self) -> dict[str, Any] | None:
        """The head of the last rollout where it did not come to an end."""
        try:
            lines = self.path.read_text().splitlines()
        except OSError:
            return None
        entries = []
        for line in lines:
            try:
                entries.append(dict(json.loads(line)))
            except ValueError:
                continue  # torn by a kill
        if not entries or "run" not in entries[0] or any(entry.get("step") == "end" for entry in entries):
            return None
        return entries[0]
