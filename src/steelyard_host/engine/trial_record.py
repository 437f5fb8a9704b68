"""The files that a switch writes on its host: the version that it comes up with, the drop-in of a trial, and the record
of what happened.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from steelyard_host import paths
from steelyard_host.engine.service import HostService
from steelyard_host.errors import HelperError
from steelyard_host.system import json_file
from steelyard_host.wire.codec import WireError, from_json, to_json
from steelyard_host.wire.rollout import Trial, TrialState

RECORDS = Path(paths.TRIAL_RECORDS)
TURNS = Path(paths.UNDO_TURNS)


def version_drop_in(service: HostService) -> Path:
    """The drop-in that binds the version which the service comes up with."""
    return service.drop_ins / "50-version.conf"


def trial_drop_in(service: HostService) -> Path:
    """The drop-in that binds the version on trial, until a reboot."""
    return service.trial_drop_ins / "60-trial.conf"


def committed(service: HostService) -> str:
    """Folder of the version that the service comes up with. Raises HelperError."""
    try:
        lines = version_drop_in(service).read_text().splitlines()
    except OSError as error:
        raise HelperError("%s is not a service of this host: %s" % (service.name, error.strerror)) from error
    bound = [line.split("=", 1)[1].split(":")[0] for line in lines if line.startswith("BindReadOnlyPaths=")]
    if not bound:
        raise HelperError("%s binds no version" % version_drop_in(service))
    return bound[-1]


def text_of(unit: str, drop_in: str, before: str, folder: str) -> str:
    """The drop-in of a trial: that of the version in service with the other folder in its place; `unit` is the unit's
    own file.

    Lists of systemd grow with each drop-in, so each is emptied first and said again.
    """
    lines = [line.replace(before, folder) for line in drop_in.splitlines() if "=" in line and not line.startswith("#")]
    own = [line for line in unit.splitlines() if line.startswith(("ExecStartPre=", "ExecStartPost="))]
    return "\n".join(["[Service]", "BindReadOnlyPaths=", "ExecStartPre=", "ExecStartPost=", *own, *lines, ""])


def _is_committed(service: HostService, folder: str) -> bool:
    try:
        return committed(service) == folder
    except HelperError:
        return False


def read(service: HostService) -> Trial | None:
    """The record of the last switch; None where there was none. One that a reboot cut short is undone by it, unless its
    version was committed already. Raises HelperError where a newer helper wrote what this one does not know.
    """
    path = RECORDS / (service.name + ".json")
    stored = json_file.read_state(path)
    if stored is None:
        return None
    try:
        trial = from_json(Trial, stored)
    except WireError as error:
        raise HelperError("the record %s cannot be read: %s" % (path, error)) from error
    if trial.state.is_open and trial.boot != boot_id():
        stays = _is_committed(service, trial.folder)
        state = TrialState.CONFIRMED if stays else TrialState.UNDONE
        return trial._replace(state=state, why="the host was rebooted")
    return trial


def write(trial: Trial) -> Trial:
    """The record on disk, and there to stay; gives it back. Raises OSError."""
    # prompts may be nobody else's business
    path = RECORDS / (trial.service + ".json")
    json_file.write_atomically(path, to_json(trial), mode=0o600)
    return trial


@contextmanager
def one_at_a_time(service: HostService) -> Iterator[None]:
    """The block is run by one process at a time; who comes second waits, and one that dies leaves nobody waiting."""
    TURNS.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (TURNS / service.name).open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        yield


def boot_id() -> str:
    """The kernel's id of this boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def bind_trial(service: HostService, trial: Trial) -> None:
    """The unit starts with the version on trial from now on, until a reboot."""
    path = trial_drop_in(service)
    path.parent.mkdir(parents=True, exist_ok=True)
    own, drop_in = service.unit_file.read_text(), version_drop_in(service).read_text()
    path.write_text(text_of(own, drop_in, trial.before, trial.folder))
