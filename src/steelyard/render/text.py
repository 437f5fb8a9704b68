"""Plans, findings and errors as plain lines. Pure: what goes in is values, what comes out is text not yet masked.

Hosts that say the same are one entry with a count and their names, so 500 hosts that lack one file are one line.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

from steelyard.errors import SteelyardError, show
from steelyard.finding import Finding
from steelyard.outcome import Outcome
from steelyard.unknowns import Unknown

if TYPE_CHECKING:
    from steelyard.engine.plan import HostPlan, Plan, PlannedCommand

DIFF_LINES = 40  # of one file, unless verbose; JSON holds all
NAMES = 6  # of a group of hosts, unless verbose
Item = TypeVar("Item")


def plural(count: int, word: str, many: str = "") -> str:
    """`many`: where it is not `word` with an s."""
    return f"{count} {word}" if count == 1 else f"{count} {many or word + 's'}"


def grouped(items: Iterable[Item], key: Callable[[Item], Hashable]) -> list[list[Item]]:
    """Items with the same key together, in the order of the first of each."""
    found: dict[Hashable, list[Item]] = {}
    for item in items:
        found.setdefault(key(item), []).append(item)
    return list(found.values())


def hosts_named(names: Sequence[str], verbose: bool = False) -> str:
    """`gpu-1`, or `18 hosts (gpu-1, gpu-2, … gpu-18)`."""
    if len(names) == 1:
        return names[0]
    shown = names if verbose or len(names) <= NAMES else [*names[: NAMES - 1], f"... {names[-1]}"]
    return f"{len(names)} hosts ({', '.join(shown)})"


def plan_lines(plan: Plan, verbose: bool = False) -> list[str]:
    """What would change, host by host or group by group, with reasons, commands and diffs."""
    lines = []
    for group in grouped(plan.hosts, lambda host: (host.tasks, tuple(map(_unknown_key, host.unknown)), host.outcome)):
        name = hosts_named([host.host for host in group], verbose)
        first = group[0]
        if first.outcome is Outcome.FAILED:
            lines.append(f"{name}: failed: " + ("not planned" if not first.tasks else "planned up to an error"))
        elif first.outcome is Outcome.UNREACHABLE:
            lines.append(f"{name}: unreachable: not planned")
        for task in first.tasks:
            lines.append(f"{name}: {task.title}")
            for command in task.commands:
                lines += [f"    {line}" for line in command_lines(command, verbose)]
        lines += [
            f"{name}: unknown: {unknown.what}: {unknown.because}; settled by {unknown.settled_by}" for unknown in first.unknown
        ]
    return lines


def _unknown_key(unknown: Unknown) -> Hashable:
    return unknown._replace(host="")


def command_lines(command: PlannedCommand, verbose: bool) -> list[str]:
    """The command with its reason, and the diff of a file."""
    reason = f"  [{command.live} -> {command.declared}]" if command.declared else ""
    text = command.text if verbose or len(command.text) < 160 else command.text[:157] + "..."
    first = text if verbose or not text else text.splitlines()[0]
    shown = command.diff if verbose else command.diff[:DIFF_LINES]
    lines = [f"{first}{reason}", *(f"    {line}" for line in shown)]
    if len(shown) < len(command.diff):
        lines.append(f"    ... {len(command.diff) - len(shown)} more lines (-v shows all)")
    return lines


def finding_lines(findings: Sequence[Finding], verbose: bool = False) -> list[str]:
    """Each finding with its fix; the same one on several hosts once."""
    lines = []
    for group in grouped(findings, lambda found: (found.code, found.subject, found.declared, found.live, found.verdict)):
        first = group[0]
        mark = "" if first.severity == "error" else f" {first.severity}:"
        since = f", since {first.since}" if first.since else ""
        lines.append(
            f"{hosts_named([found.host for found in group], verbose)}: {first.verdict}:{mark} {first.subject}  ({first.code})"
        )
        lines.append(f"    declared: {first.declared}; live: {first.live}{since}")
        lines.append(f"    fix: {_fix([found.host for found in group], first.fix)}")
    return lines


def _fix(names: Sequence[str], fix: str) -> str:
    """The fix of the first host, for all of them: Ansible's pattern of names with commas."""
    return fix.replace(f"-l {names[0]}", f"-l {','.join(names)}") if len(names) > 1 else fix


def error_lines(failed: Sequence[tuple[SteelyardError, Sequence[str]]], verbose: bool = False) -> list[str]:
    """Errors with the last words of their hosts; of hosts with the same error, one message with all their names."""
    lines = []
    for group in grouped(failed, lambda entry: (type(entry[0]), _without_place(entry[0]))):
        error, words = group[0]
        lines += [f"{error.where}: | {line}" for line in words]
        if len(group) == 1:
            lines += show(error).splitlines()
            continue
        names = hosts_named([entry[0].where for entry in group], verbose)
        first = "fix" if len({entry[0].remedy for entry in group}) == 1 else f"fix, for {error.where}"
        lines += [f"error: {names}: {error.sentence.format(**vars(error))}", f"  {first}: {error.remedy}"]
    return lines


def _without_place(error: SteelyardError) -> str:
    """The sentence, with what differs from host to host by its nature taken out."""
    sentence = error.sentence.format(**vars(error))
    for name in ("where", "address"):
        place = str(getattr(error, name, ""))
        if place:
            sentence = sentence.replace(place, "")
    return sentence


def summary(plan: Plan, verb: str) -> str:
    """One line that ends a plan or an apply; unreachable, failed, skipped and unknown are told apart."""
    changed = sum(1 for host in plan.hosts if host.tasks)
    parts = [f"{plural(plan.changes, 'task')} {verb} on {plural(changed, 'host')} of {len(plan.hosts)}"]
    unknown = sum(len(host.unknown) for host in plan.hosts)
    if unknown:
        parts.append(f"{unknown} unknown")
    for outcome in (Outcome.UNREACHABLE, Outcome.FAILED, Outcome.SKIPPED):
        hosts = plan.of(outcome)
        if hosts:
            parts.append(f"{outcome}: {hosts_named([host.host for host in hosts])}")
    return "; ".join(parts)


def traffic_lines(hosts: Iterable[HostPlan]) -> list[str]:
    """What each host cost."""
    return [
        f"{host.host}: ssh: {plural(cost.connections, 'connection')}, {plural(cost.channels, 'channel')}, "
        f"{plural(cost.round_trips, 'round trip')} for {plural(cost.facts, 'fact')}"
        for host in hosts
        if (cost := host.traffic) is not None
    ]
