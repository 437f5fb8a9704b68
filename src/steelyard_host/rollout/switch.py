"""Moves a service to another version on trial, confirms it, or undoes it: what `steelyard rollout` asks of a host.

What the host comes up with is the version that /etc names, until `confirm`. A trial is a mount over the engine's
constant path (`reload`) or a drop-in in /run (`swap`, `surge` with a second engine beside it, `sleep-swap` with the
first one asleep); all are gone after a reboot. It is carried out in a unit of its own, so it comes to its end whatever
becomes of the controller, and a timer undoes what nobody confirmed.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from steelyard_host import paths
from steelyard_host.causes import evidence
from steelyard_host.engine import mounts, start_log, trial_record
from steelyard_host.engine.service import HostService
from steelyard_host.errors import HelperError
from steelyard_host.proxy import front
from steelyard_host.rollout import sleep_swap, surge
from steelyard_host.rollout.strategies import STRATEGIES, Timing, check_prompts
from steelyard_host.store import layout, publish
from steelyard_host.supervise import on_demand
from steelyard_host.system import dead_man_timer, json_file, systemd, vanishing
from steelyard_host.wire.codec import WireError, from_json
from steelyard_host.wire.rollout import Strategy, SwitchState, Trial, TrialRequest, TrialState

KILLED = "the unit that carried it out was killed on its way"


def state(root: Path, project: str, service: HostService) -> SwitchState:
    """Return what the service serves, what it would come up with, the last switch, and what a switch would cost.

    Raises HelperError.
    """
    start = start_log.last(service.name)
    weights = [phase.seconds for phase in start.phases if phase.phase == "weights"] if start else []
    return SwitchState(
        serves=_serves(service, root / project),
        committed=trial_record.committed(service),
        previous=layout.pointed(root, project, "previous"),
        switch=trial_record.read(service),
        no_surge=surge.no_room(service),
        no_sleep=sleep_swap.why_not(service),
        start_s=start.seconds if start else None,
        weights_s=weights[0] if weights else None,
    )


def _serves(service: HostService, project: Path) -> str | None:
    """Folder of the version that is mounted for the engine, by identity: the kernel names mounts from their file
    system's root. None where it does not run.
    """
    pid = systemd.main_pid(service.unit)
    if not pid:
        return None
    seen = Path("/proc/%d/root%s" % (pid, service.model_mount))
    for folder in vanishing.entries(project):
        try:
            if not folder.is_symlink() and folder.samefile(seen):
                return str(folder)
        except OSError:
            continue
    mounted = mounts.mounted_version(pid, service.name)
    return "another folder: %s" % mounted if mounted else None


def attempt(request: TrialRequest) -> Trial:
    """Tries a version; the record, when the trial has ended.

    Its state is SERVING (to be confirmed within `undo_s`) or UNDONE, with the reason. Raises HelperError: nothing was
    begun.
    """
    service = HostService.load(request.service)
    trial = trial_record.read(service)
    unit = "steelyard-switch-%s" % service.name
    if trial is not None and trial.state.is_open and trial.run != request.run:
        at = (service.name, trial.run, trial.folder, trial.state)
        raise HelperError("another rollout is at %s: %s to %s, %s" % at)
    if trial is not None and trial.run == request.run and trial.state.serves_new:
        return trial  # taken up again
    if trial is not None and trial.state is TrialState.TRYING and systemd.is_active(unit):
        raise HelperError("this rollout is at it already")  # its record will say
    if not Path(request.folder).is_dir():
        raise HelperError("%s is not published here" % request.folder)
    trial = Trial.begun(request, trial_record.committed(service), trial_record.boot_id(), time.time())
    _arm(service, trial)  # before anything says that a trial is open: no kill may leave one that nobody takes back
    trial_record.write(trial)
    # not `--wait`: it may miss the end of a unit in which systemd is reloaded
    argv = (*paths.HELPER_ARGV, "switch-carry-out", service.name)
    systemd.run("systemd-run", "--quiet", "--collect", "--unit=" + unit, _if_killed(service), *argv)
    return _settled(service, unit)


def _arm(service: HostService, trial: Trial) -> None:
    starts = STRATEGIES[trial.strategy](service, trial).starts
    dead_man_timer.start(service.name, trial.undo_s + starts * trial.ready_s)


def _recovery(service: HostService) -> str:
    return "steelyard-recover-%s.service" % service.name


def _if_killed(service: HostService) -> str:
    """The property of the switch's unit by which systemd undoes at once what was killed on its way.

    In a unit of its own, because an undo stops the switch's first.
    """
    undo = " ".join((*paths.HELPER_ARGV, "switch-undo", service.name, "--why", "%r" % KILLED))
    run = "systemd-run --quiet --collect --unit=%s %s" % (_recovery(service), dead_man_timer.KILLED_GOES_ON)
    # no variable of the shell: systemd 252 keeps no `$` of a transient unit over a daemon-reload
    went_well = "printenv SERVICE_RESULT | grep -qx success"
    return '--property=ExecStopPost=/bin/sh -c "%s || exec %s %s"' % (went_well, run, undo)


def _settled(service: HostService, unit: str) -> Trial:
    """The record, once the trial has come to an end. Raises HelperError where its unit is gone before that, and nothing
    undoes it.
    """
    while True:
        ended = all(map(systemd.has_ended, (unit, _recovery(service))))
        trial = trial_record.read(service)
        if trial is not None and trial.state.is_settled:
            return trial
        if ended:
            raise HelperError("the switch did not come to its end: `journalctl -u %s`" % unit)
        time.sleep(0.1)


def carry_out(service: HostService) -> int:
    """The trial itself, in its own unit. 0 whatever came of it: the record says."""
    trial = trial_record.read(service)
    assert trial is not None
    began = time.monotonic()
    timing = Timing()
    try:
        if trial.strategy is Strategy.RELOAD and service.is_lazy and not systemd.is_active(service.unit):
            trial = trial_record.write(trial._replace(strategy=Strategy.SWAP))  # one that rests has no weights in place
        way = STRATEGIES[trial.strategy](service, trial)
        _arm(service, trial)
        try:
            way.run()
        finally:
            timing = way.timing
        check_prompts(service, trial)
    except (HelperError, OSError, subprocess.SubprocessError) as error:
        cause = error.cause if isinstance(error, evidence.EngineDied) else None
        _undo(service, trial._replace(cause=cause, **timing._asdict()), str(error))
        return 0
    front.back(service)
    dead_man_timer.start(service.name, trial.undo_s)  # from now on only a word is missing
    took = round(time.monotonic() - began, 3)
    trial_record.write(trial._replace(state=TrialState.SERVING, seconds=took, **timing._asdict()))
    return 0


def confirm(root: Path, project: str, service: HostService, run: str) -> Trial:
    """The version on trial is what the host comes up with from now on. Raises HelperError: it is not on trial, or no
    longer.
    """
    trial = trial_record.read(service)
    if trial is not None and trial.run == run and trial.state is TrialState.CONFIRMED:
        return trial
    if trial is None or trial.run != run or trial.state is not TrialState.SERVING:
        what = "%s %s" % (trial.state, trial.why) if trial is not None else "never was"
        raise HelperError("%s is not on trial: %s" % (service.name, what))
    path = trial_record.version_drop_in(service)
    text = path.read_text().replace(trial.before, trial.folder)
    json_file.write_atomically(path, text, mode=path.stat().st_mode & 0o7777)  # this is the moment
    publish.switch(root, project, Path(trial.folder).name)
    return _close(service, trial)


def _close(service: HostService, trial: Trial) -> Trial:
    """What the host comes up with is what was on trial."""
    dead_man_timer.stop(service.name)
    trial_record.trial_drop_in(service).unlink(missing_ok=True)
    systemd.daemon_reload()
    front.back(service)
    sleep_swap.release(service)
    on_demand.release(service)
    return trial_record.write(trial._replace(state=TrialState.CONFIRMED))


def undo(service: HostService, run: str, why: str) -> Trial | None:
    """Back to the version that the host comes up with; nothing to do where no trial is open, and None where there never
    was one. Raises HelperError: it serves nothing.
    """
    with trial_record.one_at_a_time(service):  # a timer, a recovery and a controller may want the same
        return _undo_open(service, run, why)


def _undo_open(service: HostService, run: str, why: str) -> Trial | None:
    trial = trial_record.read(service)
    if trial is None or not trial.state.is_open or (run and trial.run != run):
        return trial
    systemd.stop("steelyard-switch-%s.service" % service.name)
    if trial_record.committed(service) == trial.folder:  # an apply has declared it meanwhile: that is a confirmation
        return _close(service, trial)
    return _undo(service, trial, why)


def _undo(service: HostService, trial: Trial, why: str) -> Trial:
    trial = trial_record.write(trial._replace(state=TrialState.UNDOING, why=why))
    STRATEGIES[trial.strategy](service, trial).revert()
    front.back(service)
    on_demand.release(service)
    dead_man_timer.stop(service.name)
    return trial_record.write(trial._replace(state=TrialState.UNDONE))


def read_request() -> TrialRequest:
    """Read what to try from standard input. Raises HelperError."""
    try:
        return from_json(TrialRequest, json.load(sys.stdin))
    except (ValueError, WireError) as error:
        raise HelperError("the switch to try cannot be read: %s" % error) from error
