"""Live checks of the services of a host: what drift asks beside the tasks, because no apply could mend it alone."""

from __future__ import annotations

import time
from typing import Any

from pyinfra.context import host

from steelyard.checks import checking, report
from steelyard.finding import Severity
from steelyard.modules.facts.helper import HelperAnswer
from steelyard.site import Service

DAY_S = 86400
RESTARTS = 3  # since the host booted; one may be an accident


def check_services(services: tuple[Service, ...], drain_s: int) -> None:
    """Each service generates a token now, and has not been restarted again and again."""
    if not checking():
        return
    status = host.get_fact(HelperAnswer, words=("status",)) or {"services": []}
    now = {entry["name"]: entry for entry in status["services"]}
    for service in services:
        unit, entry = service.unit, now.get(service.name, {})
        socket = f"/run/steelyard/{service.name}/engine.sock"
        asleep = service.lazy and entry.get("state") == "inactive"  # and a look at it would not wake it
        words = ("token", socket, service.name)
        answer: dict[str, Any] | None = None if asleep else host.get_fact(HelperAnswer, words=words)
        log = f"look at its log: `journalctl -u {unit}` on {host.name}"
        if answer is not None and not answer["gives"]:
            report("vllm.gives-a-token", f"token of {service.name}", "generated", str(answer["why"])[:120], log)
        _stays_up(service.name, entry, log)
        stop_s = entry.get("stop_s")
        if stop_s is not None and stop_s <= drain_s:
            # a drop-in of somebody else's: ours is always longer
            fix = f"remove what sets TimeoutStopSec: `systemctl cat {unit}` on {host.name}"
            report(
                "vllm.stop-limit", f"TimeoutStopSec of {service.name}", f"more than drain_s: {drain_s} s", f"{stop_s:g} s", fix
            )


def _stays_up(name: str, entry: dict[str, Any], log: str) -> None:
    """What was given up, what was kept from starting, and what came back again and again."""
    restarts = int(entry.get("restarts") or 0)
    killed = [kill for kill in entry.get("killed") or () if kill["at"] > time.time() - DAY_S]
    why = f"; the watch killed it {len(killed)} times today, last because of: {killed[-1]['why'][:160]}" if killed else ""
    if entry.get("result") == "start-limit-hit":
        fix = f"{log}, mend what it says, and `steelyard apply`, which starts it again"
        report("vllm.restart-storm", f"service {name}", "runs", f"given up after {restarts} restarts{why}", fix)
    elif entry.get("result") == "exec-condition":
        fix = f"see `steelyard preflight`: reset or reboot as it says, and then `steelyard apply`; {log}"
        report("vllm.gpu-unusable", f"service {name}", "runs", "not started: a GPU of it is not usable", fix)
    elif restarts >= RESTARTS or killed:
        live = f"{restarts} restarts{why}"
        report("vllm.stays-up", f"restarts of {name}", f"fewer than {RESTARTS}", live, log, Severity.WARNING)
