"""What the last apply of a deploy did to each host, written as it happens, so that `--resume` knows what is left.

Append-only: a head, then a line for each host that is through. A host without a line was not finished, whatever
happened to the controller. Steps within a host need no journal: facts say what is done.
"""

from __future__ import annotations

import json
from pathlib import Path

from steelyard.cache import fleet_key, state_folder
from steelyard.errors import NothingToResume
from steelyard.origin import Origin


class Journal:
    """Of one inventory and one deploy."""

    def __init__(self, inventory: Path, deploy: Path) -> None:
        self.inventory, self.deploy = inventory, deploy
        self.path = state_folder() / "runs" / f"{fleet_key(inventory)}-{deploy.stem}.jsonl"

    def begin(self, origin: Origin, names: tuple[str, ...]) -> None:
        """A new run over these hosts takes the place of the last one."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.path.write_text(json.dumps({**origin.as_json(), "hosts": names}) + "\n")

    def finished(self, host: str, well: bool) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps({"host": host, "well": well}) + "\n")

    def left(self) -> tuple[str, ...]:
        """Hosts of the last run that failed or were not finished, in its order. Raises NothingToResume."""
        try:
            head, *lines = self.path.read_text().splitlines()
            names: list[str] = json.loads(head)["hosts"]
        except (OSError, ValueError, KeyError) as error:
            raise NothingToResume(where=str(self.inventory), deploy=self.deploy.stem) from error
        well: dict[str, bool] = {}
        for line in lines:
            try:
                entry = json.loads(line)
                well[entry["host"]] = entry["well"]
            except (ValueError, KeyError):
                continue  # torn by a kill: that host counts as not finished
        return tuple(name for name in names if not well.get(name, False))
