"""Live checks of the services of a host: what drift asks beside the tasks, because no apply could mend it alone."""

from __future__ import annotations

from typing import Any

from pyinfra.context import host

from steelyard.checks import checking, report
from steelyard.finding import Severity
from steelyard.modules.facts.helper import HelperAnswer
from steelyard.site import Service

RESTARTS = 3  # since the host booted; one may be an accident


def check_services(services: tuple[Service, ...]) -> None:
    """Each service generates a token now, and has not been restarted again and again."""
    if not checking():
        return
    status = host.get_fact(HelperAnswer, words=("status",)) or {"services": []}
    restarts = {entry["name"]: int(entry["restarts"] or 0) for entry in status["services"]}
    for service in services:
        unit = f"steelyard-vllm@{service.name}.service"
        socket = f"/run/steelyard/{service.name}/engine.sock"
        answer: dict[str, Any] | None = host.get_fact(HelperAnswer, words=("token", socket, service.name))
        log = f"look at its log: `journalctl -u {unit}` on {host.name}"
        if answer is not None and not answer["gives"]:
            report("vllm.gives-a-token", f"token of {service.name}", "generated", str(answer["why"])[:120], log)
        if restarts.get(service.name, 0) >= RESTARTS:
            live = f"{restarts[service.name]} restarts"
            report("vllm.stays-up", f"restarts of {service.name}", f"fewer than {RESTARTS}", live, log, Severity.WARNING)
