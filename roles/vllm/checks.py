"""Live checks of the services of a host: what drift asks beside the tasks, because no apply could mend it alone."""

from __future__ import annotations

import time

from pyinfra.context import host

from steelyard.api import live_check
from steelyard.api.finding import Severity, thing
from steelyard.modules.facts.helper import helper_fact
from steelyard.site.site import Service
from steelyard_host import paths
from steelyard_host.wire.services import HostStatus, ServiceState, ServiceStatus, TokenAnswer

DAY_S = 86400
SHOWN = 240  # characters of a cause
RESTARTS = 3  # since the host booted; one may be an accident


def check_services(services: tuple[Service, ...], drain_s: int) -> None:
    """Each service generates a token now, and has not been restarted again and again."""
    if not live_check.is_enabled():
        return
    status = helper_fact(host, HostStatus, "status")
    by_name = {entry.name: entry for entry in status.services} if status is not None else {}
    for service in services:
        unit, entry = service.unit, by_name.get(service.name)
        socket = paths.engine_socket(service.name)
        state = entry.state if entry is not None else None
        asleep = service.lazy and state is ServiceState.INACTIVE  # and a look at it would not wake it
        answer = None if asleep else helper_fact(host, TokenAnswer, "token", socket, service.name)
        cause = entry.cause if entry is not None else None
        log = f"look at its log: `journalctl -u {unit}` on {host.name}"
        if answer is not None and not answer.gives:
            # why it died once is not why it gives nothing now
            down = cause if state is not ServiceState.ACTIVE else None
            live, fix = (down.sentence, down.fix) if down is not None else (answer.why, log)
            runs = thing(host.name, unit)
            live_check.report(
                "vllm.gives-a-token",
                f"token of {service.name}",
                "generated",
                live[:SHOWN],
                fix,
                depends_on=() if down is not None else (runs,),
                explains=(runs,) if down is not None else (),
            )
        if entry is None:
            continue
        _stays_up(entry, cause.fix if cause is not None else log)
        if entry.stop_s is not None and entry.stop_s <= drain_s:
            # a drop-in of somebody else's: ours is always longer
            fix = f"remove what sets TimeoutStopSec: `systemctl cat {unit}` on {host.name}"
            live_check.report(
                "vllm.stop-limit",
                f"TimeoutStopSec of {service.name}",
                f"more than drain_s: {drain_s} s",
                f"{entry.stop_s:g} s",
                fix,
            )


def _stays_up(service: ServiceStatus, log: str) -> None:
    """What was given up, what was kept from starting, and what came back again and again."""
    name, restarts = service.name, service.restarts
    symptoms = (thing(host.name, service.unit), thing(host.name, f"token of {name}"))
    killed = [kill for kill in service.killed if kill.at > time.time() - DAY_S]
    why = f"; the watch killed it {len(killed)} times today, last because of: {killed[-1].why[:160]}" if killed else ""
    if service.cause is not None:
        why = f": {service.cause.sentence[:SHOWN]}{why}"
    if service.result == "start-limit-hit":
        fix = f"{log}; then `steelyard apply`, which starts it again"
        live_check.report(
            "vllm.restart-storm",
            f"service {name}",
            "runs",
            f"given up after {restarts} restarts{why}",
            fix,
            explains=symptoms,
        )
    elif service.result == "exec-condition":
        fix = f"see `steelyard preflight`: reset or reboot as it says, and then `steelyard apply`; {log}"
        live = "not started: a GPU of it is not usable"
        live_check.report("vllm.gpu-unusable", f"service {name}", "runs", live, fix, explains=symptoms)
    elif restarts >= RESTARTS or killed:
        live = f"{restarts} restarts{why}"
        live_check.report("vllm.stays-up", f"restarts of {name}", f"fewer than {RESTARTS}", live, log, Severity.WARNING)
