"""A folder with one set of wheels, and what is known of it: the same layout here, on a medium and on the mirror.

`files/*.whl`, `requirements.lock` and `simple/` are what a mirror serves (steelyard_host.mirror.wheels writes the last
two). The record `.steelyard-wheels.json` says what the folder was begun for and which files belong to it: so a
collection that was cut off goes on with the same wheels, whatever the index has by then.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from steelyard.errors import NoWheelsThere, SteelyardError, WheelsFolderOther
from steelyard_host.mirror.wheels import LOCK

from .wheel_resolution import ResolvedWheels, Wheel
from .wheel_sets import WheelSet, set_of_files, wheel_set
from .wheel_target import Target, target

RECORD = ".steelyard-wheels.json"
FORMAT = 1
LINE = re.compile(r"^(?P<project>[a-z0-9-]+)==(?P<version>\S+) --hash=sha256:(?P<sha256>[0-9a-f]{64})$")


@dataclass(frozen=True)
class WheelFolder:
    """`chosen` and `target` are None where a folder was made by other means and does not tell them."""

    path: Path
    chosen: WheelSet | None
    target: Target | None
    wheels: tuple[Wheel, ...]  # of the record; empty without one

    @property
    def files(self) -> Path:
        """The folder with the wheels themselves."""
        return self.path / "files"

    @property
    def lock(self) -> Path:
        """The path of the lock, which is there when the folder is complete."""
        return self.path / LOCK

    @property
    def title(self) -> str:
        """The set's title, or the path where the set is not known."""
        return self.chosen.title if self.chosen else str(self.path)

    @property
    def lock_sha256(self) -> str | None:
        """The sha256 of the lock as it lies there; None where there is none yet."""
        return hashlib.sha256(self.lock.read_bytes()).hexdigest() if self.lock.is_file() else None

    def locked(self) -> list[tuple[str, str, str]]:
        """Project, version and sha256 of each line of the lock; a line that is none has three empty words."""
        lines = self.lock.read_text(errors="replace").splitlines()
        read = [LINE.match(line) for line in lines]
        return [(line["project"], line["version"], line["sha256"]) if line else ("", "", "") for line in read]


def write_record(path: Path, resolution: ResolvedWheels) -> None:
    """Write the record of a folder, before the first wheel comes."""
    content = {
        "format": FORMAT,
        "set": resolution.chosen.build.name,
        "version": resolution.chosen.version,
        "target": resolution.target.as_json(),
        "wheels": [asdict(wheel) for wheel in resolution.wheels],
    }
    path.mkdir(parents=True, exist_ok=True)
    staged = path / f"{RECORD}.new"
    staged.write_text(json.dumps(content, indent=1) + "\n")
    staged.rename(path / RECORD)


def read_folder(path: Path) -> WheelFolder:
    """A folder as its record describes it; one without a record is told by its files."""
    try:
        record: Any = json.loads((path / RECORD).read_text())
        chosen = wheel_set(f"{record['set']}=={record['version']}")
        wheels = tuple(_recorded(entry) for entry in record["wheels"])
        return WheelFolder(path, chosen, target(**record["target"]), wheels)
    except (OSError, ValueError, KeyError, TypeError, SteelyardError):  # it may come from anywhere, on a medium
        files = [wheel.name for wheel in sorted((path / "files").glob("*.whl"))]
        return WheelFolder(path, set_of_files(files), None, ())


def _recorded(entry: dict[str, Any]) -> Wheel:
    """A wheel of a record, whose name leads nowhere else. Raises ValueError, TypeError."""
    wheel = Wheel(**entry)
    if (
        Path(wheel.file).name != wheel.file
        or wheel.file.count("-") < 4
        or not re.fullmatch("[0-9a-f]{64}", wheel.sha256)
    ):
        raise ValueError(f"{wheel.file} is no wheel")
    return wheel


def begun(path: Path, chosen: WheelSet, target: Target) -> ResolvedWheels | None:
    """The wheels that a collection into this folder was begun with. Raises WheelsFolderOther where it is for other
    hosts.
    """
    if not (path / RECORD).is_file():
        return None
    folder = read_folder(path)
    if folder.chosen != chosen or folder.target != target:
        raise WheelsFolderOther(
            where=str(path.parent),
            folder=str(path),
            name=folder.title,
            found=str(folder.target or "hosts that it does not name"),
            wanted=str(target),
        )
    return ResolvedWheels(chosen, target, folder.wheels)


def folders_in(root: Path, command: str) -> list[WheelFolder]:
    """The root itself, if it is a set, and the sets below it. Raises NoWheelsThere."""
    paths = [path for path in (root, *(sorted(root.iterdir()) if root.is_dir() else ())) if (path / LOCK).is_file()]
    if not paths:
        raise NoWheelsThere(where=command, folder=str(root))
    return [read_folder(path) for path in paths]
