"""A plan with what hosts have in common said once: changes, refusals and unknowns, each with the hosts that have it.

Two hosts have a change in common where task, things, states and effects are the same; contents and commands may differ
in a host's own name or address.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import TYPE_CHECKING, NamedTuple

from steelyard.api.change import Effect
from steelyard.engine.plan_totals import GRAVITY, longest

if TYPE_CHECKING:
    from steelyard.engine.plan import Plan, PlannedCommand, Task

Names = tuple[str, ...]  # of hosts, in the order of the inventory


class ChangedThing(NamedTuple):
    """One thing of a host, or several that a task changes alike: what happens to it, from what to what."""

    effect: Effect
    outage_s: float | None
    subjects: Names
    state: str  # `live -> declared`, or what a file is now; of the first where they differ


class SharedTask(NamedTuple):
    """A task that changes the same things on several hosts. Refusals are not among the things."""

    role: str
    name: str
    things: tuple[ChangedThing, ...]

    @property
    def marked(self) -> tuple[ChangedThing, ...]:
        """Things that more than change."""
        return tuple(thing for thing in self.things if thing.effect is not Effect.CHANGE)


class SharedPart(NamedTuple):
    """Tasks of one role that exactly these hosts have in common."""

    hosts: Names
    role: str
    tasks: tuple[SharedTask, ...]


def shared_parts(plan: Plan) -> list[SharedPart]:
    """All tasks of a plan, each once, by the hosts that have it and by role; each in the order of its first."""
    hosts_of: dict[Hashable, list[str]] = {}
    first_of: dict[Hashable, Task] = {}
    for host in plan.hosts:
        for task in host.tasks:
            key: Hashable = (task.role, task.name, *map(_kind_of, task.commands))
            known = hosts_of.get(key)
            while known is not None and known[-1] == host.host:
                key = (key, "again")  # a task in a loop may say the same twice, and counts twice
                known = hosts_of.get(key)
            if known is not None:
                known.append(host.host)
            else:
                hosts_of[key], first_of[key] = [host.host], task
    parts: dict[Names, dict[str, list[SharedTask]]] = {}
    for key, hosts in hosts_of.items():
        task = first_of[key]
        by_role = parts.setdefault(tuple(hosts), {})
        name = task.name.removeprefix(f"{task.role} | ")  # a deploy within a deploy of its own name
        by_role.setdefault(task.role, []).append(SharedTask(task.role, name, tuple(_things(task))))
    return [SharedPart(hosts, role, tuple(tasks)) for hosts, roles in parts.items() for role, tasks in roles.items()]


def _kind_of(command: PlannedCommand) -> Hashable:
    return (command.subject, command.declared, command.live, command.effect, command.outage_s, command.refusal)


def _things(task: Task) -> Iterable[ChangedThing]:
    """Things by the gravest of what happens to each; those that only change are one entry."""
    commands: dict[str, list[PlannedCommand]] = {}
    for command in task.commands:
        if command.refusal is None:
            commands.setdefault(command.subject, []).append(command)
    plain: list[PlannedCommand] = []
    for subject, of_it in commands.items():
        gravest = max(of_it, key=lambda command: GRAVITY[command.effect])
        if gravest.effect is Effect.CHANGE:
            plain.append(of_it[-1])
            continue
        outage_s = longest(command.outage_s for command in of_it)
        yield ChangedThing(gravest.effect, outage_s, (subject,), _state(gravest))
    if plain:
        outage_s = longest(command.outage_s for command in task.commands if command.effect is Effect.CHANGE)
        yield ChangedThing(Effect.CHANGE, outage_s, tuple(command.subject for command in plain), _state(plain[0]))


def _state(command: PlannedCommand) -> str:
    if command.declared.startswith("content, "):  # a file's: what it will hold is said by its name
        return command.live
    return f"{command.live} -> {command.declared}" if command.declared else ""


class Told(NamedTuple):
    """A sentence about several hosts: a refusal, or what is unknown."""

    hosts: Names
    text: str


def told_once(said: Iterable[tuple[str, str]]) -> list[Told]:
    """Host and sentence, in pairs; each sentence once, in the order of its first host."""
    hosts_of: dict[str, list[str]] = {}
    for host, text in said:
        hosts_of.setdefault(text, []).append(host)
    return [Told(tuple(dict.fromkeys(hosts)), text) for text, hosts in hosts_of.items()]


def refusals(plan: Plan) -> list[Told]:
    """Refusals of a plan."""
    return told_once(
        (host.host, f"{task.title}: {command.refusal}")
        for host in plan.hosts
        for task in host.tasks
        for command in task.commands
        if command.refusal is not None
    )


def unknowns(plan: Plan) -> list[Told]:
    """Unknowns of a plan: when each will be known, and why not yet."""
    return told_once(
        (host.host, f"{one.what}; known with {one.settled_by} ({one.because})")
        for host in plan.hosts
        for one in host.unknown
    )
