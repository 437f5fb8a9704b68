"""What a switch writes on its host: the version that it comes up with, the drop-in of a trial, and the record of what happened."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from steelyard_host import engines
from steelyard_host.store import StoreError

RECORDS = Path("/var/lib/steelyard/switches")
TRIALS = Path("/run/systemd/system")
OPEN = ("trying", "serving", "undoing")  # a switch that is neither confirmed nor undone


def drop_in(service: str) -> Path:
    return engines.drop_ins(service) / "50-version.conf"


def path_of(service: str) -> Path:
    return engines.drop_ins(service, TRIALS) / "60-trial.conf"


def committed(service: str) -> str:
    """Folder of the version that the service comes up with. Raises StoreError."""
    try:
        lines = drop_in(service).read_text().splitlines()
    except OSError as error:
        raise StoreError("%s is not a service of this host: %s" % (service, error.strerror)) from error
    bound = [line.split("=", 1)[1].split(":")[0] for line in lines if line.startswith("BindReadOnlyPaths=")]
    if not bound:
        raise StoreError("%s binds no version" % drop_in(service))
    return bound[-1]


def text_of(unit: str, drop_in: str, before: str, folder: str) -> str:
    """The drop-in of a trial: that of the version in service with the other folder in its place; `unit` is the unit's own file.

    Lists of systemd grow with each drop-in, so each is emptied first and said again.
    """
    lines = [line.replace(before, folder) for line in drop_in.splitlines() if "=" in line and not line.startswith("#")]
    own = [line for line in unit.splitlines() if line.startswith("ExecStartPost=")]
    return "\n".join(["[Service]", "BindReadOnlyPaths=", "ExecStartPre=", "ExecStartPost=", *own, *lines, ""])


def _committed_to(service: str, folder: str) -> bool:
    try:
        return committed(service) == folder
    except StoreError:
        return False


def record(service: str) -> dict[str, Any] | None:
    """Of the last switch; one that a reboot cut short is undone by it, unless its version was committed already."""
    try:
        found = json.loads((RECORDS / (service + ".json")).read_text())
    except (OSError, ValueError):
        return None
    if found["state"] in OPEN and found["boot"] != boot():
        stays = _committed_to(service, found["folder"])
        found.update(state="confirmed" if stays else "undone", why="the host was rebooted")
    return dict(found)


def keep(service: str, found: dict[str, Any], **news: Any) -> None:
    found.update(news)
    RECORDS.mkdir(parents=True, exist_ok=True)
    new = RECORDS / (service + ".new")
    new.touch(mode=0o600)  # prompts may be nobody else's business
    with new.open("w") as file:
        json.dump(found, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, RECORDS / (service + ".json"))


def boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def write(service: str, found: dict[str, Any]) -> None:
    """The unit starts with the version on trial from now on, until a reboot."""
    own = engines.unit_file(service).read_text()
    path = path_of(service)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text_of(own, drop_in(service).read_text(), found["before"], found["folder"]))
