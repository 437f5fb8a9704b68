"""Commands, findings, advice and errors as plain lines, not masked yet. Pure.

Hosts that say the same are one entry with a count and their names, so 500 hosts that lack one file are one line.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

from steelyard.api.advice import Advice
from steelyard.api.finding import Finding
from steelyard.errors import SteelyardError, show

if TYPE_CHECKING:
    from steelyard.drift.causes import Consequence
    from steelyard.engine.plan import HostPlan, PlannedCommand

DIFF_LINES = 40  # of one file, unless verbose; JSON holds all
NAMES = 6  # of a group of hosts, unless verbose
VALUES = 3  # of a finding that hosts have in common, unless verbose
Item = TypeVar("Item")


def plural(count: int, word: str, many: str = "") -> str:
    """`many`: where it is not `word` with an s."""
    return f"{count} {word}" if count == 1 else f"{count} {many or word + 's'}"


def grouped(items: Iterable[Item], key: Callable[[Item], Hashable]) -> list[list[Item]]:
    """Items with the same key together, in the order of the first of each."""
    groups: dict[Hashable, list[Item]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return list(groups.values())


def hosts_named(names: Sequence[str], verbose: bool = False) -> str:
    """`gpu-1`, or `18 hosts (gpu-1, gpu-2, … gpu-18)`."""
    if len(names) == 1:
        return names[0]
    return f"{len(names)} hosts ({named(names, verbose)})"


def named(names: Sequence[str], verbose: bool = False) -> str:
    """`gpu-1, gpu-2, … gpu-18`."""
    return ", ".join(names if verbose or len(names) <= NAMES else [*names[: NAMES - 1], f"... {names[-1]}"])


def command_lines(command: PlannedCommand, verbose: bool) -> list[str]:
    """The command with its reason, and the diff of a file."""
    reason = f"  [{command.live} -> {command.declared}]" if command.declared else ""
    whole = verbose or command.refusal is not None  # a refusal is a sentence: its end says what to do
    text = command.text if whole or len(command.text) < 160 else command.text[:157] + "..."
    first = text if whole or not text else text.splitlines()[0]
    shown = command.diff if verbose else command.diff[:DIFF_LINES]
    lines = [f"{first}{reason}", *(f"    {line}" for line in shown)]
    if len(shown) < len(command.diff):
        lines.append(f"    ... {len(command.diff) - len(shown)} more lines (-v shows all)")
    return lines


def finding_lines(
    findings: Sequence[Finding],
    verbose: bool = False,
    consequences_of: Callable[[str], Sequence[Consequence]] = lambda cause: (),
) -> list[str]:
    """Each finding with its fix, and what it leads to elsewhere; the same one on several hosts once."""
    lines = []
    for group in grouped(findings, lambda one: (one.code, one.subject, one.declared, one.verdict, one.severity)):
        first, names = group[0], [finding.host for finding in group]
        mark = "" if first.severity == "error" else f" {first.severity}:"
        since = f", since {first.since}" if first.since else ""
        lines.append(f"{hosts_named(names, verbose)}: {first.verdict}:{mark} {first.subject}  ({first.code})")
        lines.append(f"    declared: {first.declared}; live: {_values(group, verbose)}{since}")
        lines.append(f"    fix: {_fix(names, first.fix)}")
        led_to = [consequence for finding in group for consequence in consequences_of(finding.id)]
        lines += [f"    {line}" for line in consequence_lines("it", led_to, verbose)]
    return lines


def consequence_lines(cause: str, consequences: Sequence[Consequence], verbose: bool = False) -> list[str]:
    """One line on what goes away with `cause`, each with what is seen of it; none where there is nothing."""
    if not consequences:
        return []
    findings = [consequence.finding for consequence in consequences]
    shown = findings if verbose or len(findings) <= NAMES else findings[: NAMES - 1]
    more = f"; and {len(findings) - len(shown)} more" if len(shown) < len(findings) else ""
    named = "; ".join(f"{finding.host}: {finding.subject} ({finding.live})" for finding in shown)
    return [f"because of {cause}: {named}{more}"]


def _values(group: Sequence[Finding], verbose: bool) -> str:
    """What is live; where hosts differ in it, the values with their hosts."""
    alike = grouped(group, lambda finding: finding.live)
    if len(alike) == 1:
        return group[0].live
    shown = alike if verbose or len(alike) <= VALUES else alike[: VALUES - 1]
    parts = [f"{same[0].live} on {hosts_named([finding.host for finding in same], verbose)}" for same in shown]
    left = sum(len(same) for same in alike[len(shown) :])
    return "; ".join([*parts, *([f"others on {plural(left, 'host')}"] if left else [])])


def advice_lines(advice: Sequence[Advice], verbose: bool = False) -> list[str]:
    """Each advice with its fix; the same one of several hosts once."""
    lines = []
    for group in grouped(advice, lambda given: given._replace(host="")):
        names = hosts_named([given.host for given in group], verbose)
        lines += [f"advice: {names}: {group[0].text}", f"  fix: {group[0].fix}"]
    return lines


def _fix(names: Sequence[str], fix: str) -> str:
    """The fix of the first host, for all of them: Ansible's pattern of names with commas."""
    return fix.replace(f"-l {names[0]}", f"-l {','.join(names)}") if len(names) > 1 else fix


def error_lines(failed: Sequence[tuple[SteelyardError, Sequence[str]]], verbose: bool = False) -> list[str]:
    """Errors with the last words of their hosts; of hosts with the same error, one message with all their names."""
    lines = []
    for group in grouped(failed, lambda entry: (type(entry[0]), _without_place(entry[0]))):
        error, last_words = group[0]
        said = [f"{error.where}: | {line}" for line in last_words if verbose or not error.explains]
        if not error.explains:  # else the cause is the first line, and what the host said the proof of it
            lines += said
        if len(group) == 1:
            lines += [*show(error).splitlines(), *(said if error.explains else [])]
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


def traffic_lines(hosts: Iterable[HostPlan]) -> list[str]:
    """Lines of what each host cost."""
    return [
        f"{host.host}: ssh: {plural(cost.connections, 'connection')}, {plural(cost.channels, 'channel')}, "
        f"{plural(cost.round_trips, 'round trip')} for {plural(cost.facts, 'fact')}"
        for host in hosts
        if (cost := host.traffic) is not None
    ]
