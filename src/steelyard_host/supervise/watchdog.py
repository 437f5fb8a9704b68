"""Whether a service still works: a token asked every few seconds, and its engine killed where neither that nor
anybody's comes.

A timer starts it; nothing of it stays running. An engine that ends is systemd's (`Restart=always`, exit 0 too); this
one is for those that live, answer 200 on /health, and generate nothing any more. An engine that only is busy moves its
own counters.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

from steelyard_host import paths
from steelyard_host.causes import evidence
from steelyard_host.engine import control_api, kill_log, metrics, probe, trial_record
from steelyard_host.engine.service import HostService
from steelyard_host.errors import HelperError
from steelyard_host.proxy import front
from steelyard_host.supervise import on_demand
from steelyard_host.system import json_file, systemd

SEEN = Path(paths.WATCHED)  # what was observed last
PROBE_S = 20


class Observation(NamedTuple):
    """One look at a service.

    `pid`: its engine's process, 0 where it is to be left alone; `gives`: whether it generated a token, else `reason`;
    `progress`: sum of counters that only grow while it works; `busy_with`: why it must be left alone.
    """

    pid: int
    gives: bool
    reason: str
    progress: float
    dead: bool = False
    busy_with: str | None = None


class LastProgress(NamedTuple):
    """The last time that an engine did anything: its process, its counters, and seconds of a clock that nobody sets."""

    pid: int = 0
    progress: float = -1.0
    at: float = 0.0


class WatchDecision(NamedTuple):
    """The consequence of an observation. `kill`: why the engine is to be killed; None: it works, as far as known."""

    last: LastProgress
    kill: str | None = None


def decide(observed: Observation, last: LastProgress, at: float, hung_s: float) -> WatchDecision:
    """Decide what an observation means after the one before. Pure; `at`: seconds of the clock that `last.at` is of."""
    fresh = LastProgress(observed.pid, observed.progress, at)
    if observed.busy_with is not None or observed.pid == 0 or observed.pid != last.pid:
        return WatchDecision(fresh)
    if observed.dead:
        return WatchDecision(fresh, "its engine is dead and its server goes on: %s" % observed.reason)
    if observed.gives or observed.progress > last.progress:
        return WatchDecision(fresh)
    idle_s = at - last.at
    if idle_s < hung_s:
        return WatchDecision(last)
    return WatchDecision(fresh, "no token for %d s, ours or anybody's: %s" % (idle_s, observed.reason))


def run(service: HostService, hung_s: float) -> int:
    """One look, and what follows from it; it speaks only where it did something. Always 0."""
    if service.is_lazy:
        on_demand.try_again(service)
    path = SEEN / (service.name + ".json")
    decision = decide(_observe(service), _last(path), time.monotonic(), hung_s)
    json_file.write_atomically(path, decision.last)
    if decision.kill is None:
        return 0
    front.out(service)  # gateways go elsewhere, or wait
    kill_log.note(service.name, decision.kill)
    print("%s is killed, and started anew: %s" % (service.name, decision.kill), flush=True)
    systemd.kill(service.unit)
    return 0


def _observe(service: HostService) -> Observation:
    shown = systemd.show(service.unit, "ActiveState", "MainPID")
    pid = int(shown.get("MainPID") or 0)
    if shown.get("ActiveState") != "active":  # starting has its own limit, and the port is closed
        return Observation(0, False, "it is %s" % shown.get("ActiveState"), 0)
    try:
        trial = trial_record.read(service)
    except HelperError as error:  # whether it is on trial is not known, so it is left alone
        return Observation(pid, False, "", 0, busy_with=str(error))
    if trial is not None and not trial.state.is_settled:
        return Observation(pid, False, "", 0, busy_with="a switch")
    gives, reason = probe.one_token(service.socket, service.name, PROBE_S)
    dead = not gives and control_api.health(service) in (500, 503)
    if dead:
        cause = evidence.now(service.unit)
        reason = cause.sentence if cause is not None else reason
    return Observation(pid, gives, reason, metrics.progress(service), dead)


def _last(path: Path) -> LastProgress:
    try:
        pid, progress, at = json_file.read(path)
        return LastProgress(int(pid), float(progress), float(at))
    except (ValueError, TypeError):
        return LastProgress()
