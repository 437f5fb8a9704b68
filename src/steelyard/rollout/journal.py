"""The journal of a rollout: its intent, on disk before it is done. Hosts say what was done, this what was meant."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from steelyard.dirs import fleet_key, state_folder
from steelyard_host.wire.codec import WireError, from_json, to_json
from steelyard_host.wire.rollout import Prompt, Strategy


class RolloutHead(NamedTuple):
    """The first line of a journal: what is moved where. `strategies`: by host; `command`: `rollout` or `rollback`."""

    run: str
    alias: str
    version: str
    project: str
    hosts: tuple[str, ...]
    strategies: dict[str, Strategy]
    prompts: tuple[Prompt, ...]
    command: str = "rollout"


@dataclass
class RolloutJournal:
    """The journal of one alias of one inventory: a head, and a line for each step."""

    path: Path

    @classmethod
    def of(cls, inventory: Path, alias: str) -> RolloutJournal:
        """The journal of `alias`; nothing is read or written yet."""
        name = re.sub(r"[^A-Za-z0-9._-]", "-", alias)
        return cls(state_folder() / "rollouts" / f"{fleet_key(inventory)}-{name}.jsonl")

    def begin(self, head: RolloutHead) -> None:
        """A new rollout takes the place of the last one. Raises OSError."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._write("w", to_json(head))

    def step(self, step: str, host: str = "") -> None:
        """A step that is about to be done. Raises OSError."""
        self._write("a", {"step": step, "host": host})

    def _write(self, mode: str, line: dict[str, object]) -> None:
        with self.path.open(mode) as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def unfinished(self) -> RolloutHead | None:
        """The head of the last rollout where it did not come to an end; None too where nobody can read it."""
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
        if not entries or any(entry.get("step") == "end" for entry in entries):
            return None
        try:
            return from_json(RolloutHead, entries[0])
        except WireError:
            return None
