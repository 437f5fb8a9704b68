"""Removals: what a plan takes away, host by host, and the result of `steelyard host remove`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from steelyard.api.change import Effect

from .text import plural

if TYPE_CHECKING:
    from steelyard.engine.plan import Plan
    from steelyard.errors import Exit, SteelyardError
    from steelyard.inventory.mentions import Mention

    from .screen import Screen

ENDS = (Effect.STOP, Effect.REMOVAL)


def removal_lines(plan: Plan) -> list[str]:
    """Return a line for each thing that is gone afterwards: its host, what it is, and what it is now."""
    lines: dict[str, None] = {}
    for host in plan.hosts:
        for task in host.tasks:
            for command in task.commands:
                if command.effect in ENDS:
                    lines[f"{host.host}: removes {command.subject} ({command.live})"] = None
    return list(lines)


def show_removals(screen: Screen, plan: Plan) -> None:
    """List what goes before it goes, for people."""
    for line in removal_lines(plan):
        screen.note(line)


def show_host_removed(
    screen: Screen,
    name: str,
    plan: Plan,
    records: Sequence[str],
    named: Sequence[Mention],
    stays: Sequence[str],
    code: Exit,
    stopped: SteelyardError | None,
) -> None:
    """Show what was removed where, what stays and why, and what has to be deleted from the inventory by hand."""
    if screen.json:
        errors = [error.as_json() for error in plan.errors] + ([stopped.as_json()] if stopped else [])
        screen.document(
            "host remove",
            {
                "host": name,
                "removed": [
                    {"host": host.host, "subject": command.subject}
                    for host in plan.hosts
                    for task in host.tasks
                    for command in task.commands
                    if command.effect in ENDS
                ],
                "records": list(records),
                "named": [mention._asdict() for mention in named],
                "stays": list(stays),
                "errors": errors,
                "exit": int(code),
            },
        )
        return
    screen.failures()
    if stopped is not None:
        screen.error(stopped)
    for record in records:
        screen.note(f"forgotten in {record}")
    for sentence in stays:
        screen.out(f"stays: {sentence}")
    for mention in named:
        screen.out(f"still named: {mention.where}: {mention.text}")
    if plan.errors or stopped is not None:
        screen.out(f"{name} is not out yet: run the same command again when the cause is mended")
    elif named:
        screen.out(f"{name} is out of the site; delete {plural(len(named), 'line')} above, or an apply brings it back")
    else:
        screen.out(f"{name} is out of the site")
