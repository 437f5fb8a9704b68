"""The time when this controller first saw each finding: kept per inventory, forgotten when the finding is gone."""

from __future__ import annotations

import json
from pathlib import Path

from steelyard.api.finding import Finding
from steelyard.dirs import fleet_key, state_folder, write_private


class FirstSeen:
    """First sightings by finding id. Losing them costs the dates and nothing else."""

    def __init__(self, inventory: Path) -> None:
        self.path = state_folder() / "seen" / f"{fleet_key(inventory)}.json"

    def dated(self, findings: list[Finding], now: str, looked_at: set[str]) -> list[Finding]:
        """The findings with `since`. Of hosts that were not looked at, what was known is kept."""
        try:
            known: dict[str, str] = {str(key): str(value) for key, value in json.loads(self.path.read_text()).items()}
        except (OSError, ValueError, AttributeError):
            known = {}
        others = {key: value for key, value in known.items() if key.split(":", 1)[0] not in looked_at}
        current = {finding.id: known.get(finding.id, now) for finding in findings}
        try:
            write_private(self.path, json.dumps({**others, **current}).encode())
        except OSError:
            pass
        return [finding._replace(since=known.get(finding.id)) for finding in findings]
