"""Journal of what the last apply of a deploy did to each host, written as it happens, so that `--resume` knows what
is left.

Append-only: a head, then a line for each host that is through. A host without a line was not finished, whatever
happened to the controller. Steps within a host need no journal: facts say what is done.
"""

from __future__ import annotations

import json
from pathlib import Path

from steelyard.dirs import fleet_key, state_folder
from steelyard.engine.run_owner import RunOwner
from steelyard.errors import NothingToResume


class ApplyJournal:
    """Journal of the last apply of one inventory and one deploy."""

    def __init__(self, inventory: Path, deploy: Path) -> None:
        self.inventory, self.deploy = inventory, deploy
        self.path = state_folder() / "runs" / f"{fleet_key(inventory)}-{deploy.stem}.jsonl"

    def begin(self, owner: RunOwner, names: tuple[str, ...]) -> None:
        """Begin a run over these hosts, in place of the last one."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.path.write_text(json.dumps({**owner.as_json(), "hosts": names}) + "\n")

    def finished(self, host: str, ok: bool) -> None:
        """Append that a host is through, and whether without a failure."""
        with self.path.open("a") as file:
            file.write(json.dumps({"host": host, "well": ok}) + "\n")

    def left(self) -> tuple[str, ...]:
        """Return the hosts of the last run that failed or were not finished, in its order. Raises NothingToResume."""
        try:
            head, *lines = self.path.read_text().splitlines()
            names: list[str] = json.loads(head)["hosts"]
        except (OSError, ValueError, KeyError) as error:
            raise NothingToResume(where=str(self.inventory), deploy=self.deploy.stem) from error
        succeeded: dict[str, bool] = {}
        for line in lines:
            try:
                entry = json.loads(line)
                succeeded[entry["host"]] = entry["well"]
            except (ValueError, KeyError):
                continue  # torn by a kill: that host counts as not finished
        return tuple(name for name in names if not succeeded.get(name, False))
