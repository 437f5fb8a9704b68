"""Totals of a plan, on a host and in all: how much changes, restarts, stops and goes, and how long clients wait.

A thing of a host counts once, by the gravest of what happens to it: a unit that is stopped and started is one restart.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from steelyard.api.change import Effect

if TYPE_CHECKING:
    from .plan import HostPlan, Plan, PlannedCommand

COUNTS = ("changes", "restarts", "stops", "removals", "refusals", "unknown")
GRAVITY = {Effect.CHANGE: 0, Effect.RESTART: 1, Effect.STOP: 2, Effect.REMOVAL: 3}


@dataclass(frozen=True)
class PlanTotals:
    """Counts of tasks (`changes`), of things (`restarts`, `stops`, `removals`), of refusals and of unknowns.

    `outage_s`: the longest that a client may have to wait at once, in seconds; None where that cannot be known.
    """

    changes: int = 0
    restarts: int = 0
    stops: int = 0
    removals: int = 0
    refusals: int = 0
    unknown: int = 0
    outage_s: float | None = 0.0

    def as_json(self) -> dict[str, object]:
        """The object of documents."""
        return asdict(self)


def longest(outages: Iterable[float | None]) -> float | None:
    """The longest of several waits; None where one of them cannot be known."""
    known: set[float] = {0.0}
    for outage in set(outages):
        if outage is None:
            return None
        known.add(outage)
    return max(known)


def grave(commands: Iterable[PlannedCommand]) -> dict[str, Effect]:
    """Things that more than change by these commands, each with the gravest of what happens to it."""
    effects: dict[str, Effect] = {}
    for command in commands:
        if command.effect is not Effect.CHANGE and command.refusal is None:
            known = effects.get(command.subject, Effect.CHANGE)
            effects[command.subject] = max(known, command.effect, key=GRAVITY.__getitem__)
    return effects


def host_totals(host: HostPlan) -> PlanTotals:
    """Totals of one host."""
    if not host.tasks:
        return PlanTotals(unknown=len(host.unknown))
    commands = [command for task in host.tasks for command in task.commands]
    effects = list(grave(commands).values())
    return PlanTotals(
        changes=len(host.tasks),
        restarts=effects.count(Effect.RESTART),
        stops=effects.count(Effect.STOP),
        removals=effects.count(Effect.REMOVAL),
        refusals=sum(command.refusal is not None for command in commands),
        unknown=len(host.unknown),
        outage_s=longest(command.outage_s for command in commands),
    )


def plan_totals(plan: Plan) -> PlanTotals:
    """Totals of all hosts: counts add up, waits do not, because clients of several hosts wait side by side."""
    totals = [host_totals(host) for host in plan.hosts]
    counts = {name: sum(getattr(one, name) for one in totals) for name in COUNTS}
    return PlanTotals(**counts, outage_s=longest(one.outage_s for one in totals))
