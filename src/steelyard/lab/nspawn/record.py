"""Record of a lab between two commands: one JSON file in its folder, written before anything is made."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from steelyard.errors import LabHostNotThere, LabNotThere

from .machine import Machine
from .network import LabNetwork
from .paths import LabPaths, state_root
from .spec import LabHost


@dataclass(frozen=True)
class Lab:
    """A lab as recorded: its network slot, its hosts in order, and where its inventory was written."""

    paths: LabPaths
    slot: int
    hosts: tuple[LabHost, ...]
    inventory: Path

    @property
    def net(self) -> LabNetwork:
        return LabNetwork(self.slot)

    @property
    def machines(self) -> list[Machine]:
        return [Machine(self.paths, self.net, host, number) for number, host in enumerate(self.hosts)]

    def addresses(self) -> dict[str, str]:
        return {machine.host.name: machine.address for machine in self.machines}

    def machine(self, host: str) -> Machine:
        """Return a host of the lab. Raises LabHostNotThere."""
        for machine in self.machines:
            if machine.host.name == host:
                return machine
        names = ", ".join(machine.host.name for machine in self.machines)
        raise LabHostNotThere(where=self.paths.name, host=host, hosts=names)

    def write(self) -> None:
        self.paths.root.mkdir(parents=True, exist_ok=True)
        self.paths.root.chmod(0o700)
        text = {
            "slot": self.slot,
            "inventory": str(self.inventory),
            "hosts": [host.model_dump(mode="json") for host in self.hosts],
        }
        self.paths.record.write_text(json.dumps(text, indent=1))


def lab_names() -> list[str]:
    root = state_root()
    return sorted(folder.name for folder in root.iterdir() if (folder / "lab.json").exists()) if root.is_dir() else []


def find_lab(name: str) -> Lab | None:
    paths = LabPaths(name)
    if not paths.record.exists():
        return None
    text = json.loads(paths.record.read_text())
    hosts = tuple(LabHost.model_validate(host) for host in text["hosts"])
    return Lab(paths, text["slot"], hosts, Path(text["inventory"]))


def require_lab(name: str, where: str) -> Lab:
    """Return the lab of this name. Raises LabNotThere."""
    lab = find_lab(name)
    if lab is None:
        raise LabNotThere(where=where, name=name, labs=", ".join(lab_names()) or "none")
    return lab


def free_slot() -> int:
    """The lowest network slot no recorded lab and no interface uses."""
    labs = [lab for name in lab_names() if (lab := find_lab(name)) is not None]
    taken = {lab.slot for lab in labs}
    taken |= {int(path.name[5:]) for path in Path("/sys/class/net").glob("sylab[0-9]*")}
    return next(slot for slot in range(255) if slot not in taken)


def forget(paths: LabPaths) -> None:
    shutil.rmtree(paths.root, ignore_errors=True)
