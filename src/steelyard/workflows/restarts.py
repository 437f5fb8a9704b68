"""Advice of a plan that restarts what serves: who waits, for how long, and how nobody would."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from steelyard.api.advice import Advice
from steelyard.api.change import Effect
from steelyard_host.engine.service import is_engine

if TYPE_CHECKING:
    from steelyard.engine.plan import Plan, PlannedCommand
    from steelyard.inventory.fleet import Fleet

SPARE = 1.5  # a start may take so much longer than the last one
SERVING = "serving "  # before the folder of a version, in what an engine's change declares


def declared_hold_s(fleet: Fleet) -> int:
    """Seconds that every gateway holds a request; 0 without one."""
    from steelyard.api.settings import settings_from  # with pydantic, which a plan without restarts needs not
    from steelyard.roles.gateway.settings import Settings

    gateways = fleet.groups.get("gateway", ())
    return min(
        (settings_from(Settings, host.variables).hold_s for host in fleet.hosts if host.name in gateways), default=0
    )


def advice_of_restarts(fleet: Fleet, planned: Plan, hold_s: int | None = None) -> list[Advice]:
    """Advice on each engine that the plan restarts. `hold_s`: of `--hold`; None: as gateways declare."""
    restarts = [
        (host.host, command)
        for host in planned.hosts
        for task in host.tasks
        for command in task.commands
        if command.effect is Effect.RESTART and is_engine(command.subject)
    ]
    if not restarts:
        return []
    held_s = declared_hold_s(fleet) if hold_s is None else hold_s
    return [*moves(restarts), *waits(restarts, held_s)]


def service_of(command: PlannedCommand) -> str:
    """Return the service of an engine's unit, which is its alias."""
    return command.subject.split("@", 1)[1].removesuffix(".service")


def moves(restarts: Iterable[tuple[str, PlannedCommand]]) -> list[Advice]:
    """Advice to roll a version out where a plan restarts engines with another one."""
    advice = []
    for host, command in restarts:
        declared, _, _ = command.declared.partition(",")  # how it restarts comes behind a comma
        if declared.startswith(SERVING):
            service, version = service_of(command), declared.rsplit("/", 1)[-1]
            text = f"{service} gets version {version} by a restart, and keeps it whatever its answers are"
            fix = f"`steelyard rollout {service} {version}` looks at the answers first, and goes back by itself"
            advice.append(Advice(host, "vllm.version-by-restart", text, fix))
    return advice


def waits(restarts: Iterable[tuple[str, PlannedCommand]], hold_s: int) -> list[Advice]:
    """Advice where nobody serves while an engine restarts: how long requests wait, and for how long they can."""
    advice = []
    for host, command in restarts:
        if command.outage_s == 0:
            continue
        service, fix = service_of(command), "have a second replica, or room for a second engine: then nobody waits"
        alone = f"nobody else serves {service} while it restarts"
        if command.outage_s is None:
            text = f"{alone}, and how long it takes to start was never seen; gateways hold requests for {hold_s} s"
            fix = "`steelyard apply --hold SECONDS` has them hold requests longer for this run; " + fix
        elif command.outage_s * SPARE > hold_s:
            needed_s = math.ceil(command.outage_s * SPARE)
            text = f"{alone}, which took {command.outage_s:.0f} s last time; gateways hold requests for {hold_s} s"
            fix = f"`steelyard apply --hold {needed_s}` has them hold requests longer for this run; " + fix
        else:
            text = f"{alone}, which took {command.outage_s:.0f} s last time: gateways hold its requests so long"
        advice.append(Advice(host, "vllm.single-replica", text, fix))
    return advice
