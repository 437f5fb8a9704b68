"""A plan whole: host by host or group by group, every command with its reason, and the diff of every file."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from typing import TYPE_CHECKING

from steelyard.api.change import Effect
from steelyard.api.outcome import HostOutcome

from .plan_summary import REFUSED, UNKNOWN, mark_of
from .text import command_lines, grouped, hosts_named
from .width import MarkedLine

if TYPE_CHECKING:
    from steelyard.api.unknown import Unknown
    from steelyard.engine.plan import HostPlan, Plan, PlannedCommand

Clean = Callable[[str], str]
INDENT = "    "


def detail_lines(plan: Plan, clean: Clean = str) -> list[MarkedLine]:
    """The plan uncut, in entries of a line or many. `clean` takes out secrets, and what a terminal obeys."""
    lines: list[MarkedLine] = []
    for group in grouped(plan.hosts, lambda host: (host.tasks, tuple(map(_unknown_key, host.unknown)), host.outcome)):
        name = hosts_named([host.host for host in group], verbose=True)
        plain: list[str] = []
        for text, mark in _entries(name, group[0], clean):
            if mark:
                lines += [*_together(plain, clean), MarkedLine(clean(text), mark)]
                plain = []
            else:
                plain.append(text)
        lines += _together(plain, clean)
    return lines


def _together(texts: list[str], clean: Clean) -> list[MarkedLine]:
    """Texts without a mark as one entry: looking for secrets costs the same for one line as for a thousand."""
    return [MarkedLine(clean("\n".join(texts)))] if texts else []


def _entries(name: str, host: HostPlan, clean: Clean) -> Iterator[tuple[str, str]]:
    """Texts of hosts that are planned alike, each with its mark or none."""
    if host.outcome is HostOutcome.FAILED:
        yield f"{name}: {host.outcome}: " + ("planned up to an error" if host.tasks else "not planned"), ""
    elif host.outcome is HostOutcome.UNREACHABLE:
        yield f"{name}: {host.outcome}: not planned", ""
    for task in host.tasks:
        yield f"{name}: {task.title}", ""
        for command in task.commands:
            yield _command(command, clean)
    for unknown in host.unknown:
        yield f"{UNKNOWN}: {name}: {unknown.what}: {unknown.because}; settled by {unknown.settled_by}", UNKNOWN


def _command(command: PlannedCommand, clean: Clean) -> tuple[str, str]:
    """The command, marked where it more than changes its thing, and the diff of its file below it."""
    first, *diff = command_lines(command, verbose=True)
    if "\n" in first:  # a secret of several lines is known by them as they are, before they are indented
        first = clean(first).replace("\n", f"\n{INDENT}")
    text = "\n".join([f"{INDENT}{mark_of(command.effect, command.outage_s)}{first}", *(INDENT + line for line in diff)])
    return text, REFUSED if command.refusal is not None else _mark(command.effect)


def _mark(effect: Effect) -> str:
    return "" if effect is Effect.CHANGE else str(effect)


def _unknown_key(unknown: Unknown) -> Hashable:
    return unknown._replace(host="")
