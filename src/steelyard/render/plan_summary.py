"""A plan on one screen: refusals, hosts with their totals, what hosts have in common, unknowns, and one line of sums.

As much detail as is read: each change is a line; where they are too many, those of a role become one line with a
count, but what restarts, stops or goes keeps a line of its own as long as it can. No host is lost:
each is named or counted. Every text goes through `clean` before it is cut, so that no half of a secret is left over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from steelyard.api.change import Effect
from steelyard.api.outcome import HostOutcome
from steelyard.engine.plan_totals import PlanTotals, host_totals, longest, plan_totals

from .plan_merged import ChangedThing, Names, SharedPart, SharedTask, Told, refusals, shared_parts, unknowns
from .text import grouped, hosts_named, plural
from .width import COLUMNS, MarkedLine, columns, cut, listed, wrapped

if TYPE_CHECKING:
    from steelyard.engine.plan import HostPlan, Plan

MOST = 56  # lines, so that a screen of 60 has room for advice
READ = 32  # lines of changes that are read one by one; where there are more, a role is a line
FEW = 3  # changes of a role that are shown one by one in any case
LEAST_ROOM = 16  # lines for changes, whatever else has to be said
SENTENCES = 12  # lines of refusals, and of unknowns
ROWS = 12  # of the table of hosts
FULL, FOLDED, CLOSED = range(3)  # a line a change; a line a role, and one for each that is marked; a line a role
REFUSED, UNKNOWN = "refused", "unknown"
Clean = Callable[[str], str]


def summary_lines(plan: Plan, clean: Clean = str, width: int = COLUMNS) -> list[MarkedLine]:
    """The summary without its last line; `clean` takes out secrets, and what a terminal would obey."""
    before = [
        *_sentences(REFUSED, refusals(plan), clean, width),
        *(MarkedLine(cut(clean(line), width), mark) for line, mark in _not_planned(plan, width)),
    ]
    after = _sentences(UNKNOWN, unknowns(plan), clean, width)
    parts, table = shared_parts(plan), _table(plan, clean, width)
    room = max(LEAST_ROOM, MOST - len(before) - len(after) - len(table) - 1)
    levels = _levels(parts, room)
    changes = _changes(parts, levels, room, clean, width)
    if all(level == FULL for level in levels) and len({part.hosts for part in parts}) < len(table):
        table = []  # what a host has stands together below
    return [*before, *table, *changes, *after]


# Words


def wait_words(outage_s: float | None) -> str:
    """The wait of a client, in words; `outage_s` as of `PlanTotals`."""
    if outage_s is None:
        return "how long clients wait is not known"
    if outage_s == 0:
        return "no client waits"
    return f"clients wait up to {outage_s:.0f} s" if outage_s >= 1 else "clients wait less than 1 s"


def totals_words(totals: PlanTotals, waiting: bool = True) -> str:
    """`2 restarts (clients wait up to 40 s), 1 removal, 3 unknown`; nothing for what is none."""
    counts = (
        (totals.refusals, plural(totals.refusals, "refusal")),
        (totals.restarts, plural(totals.restarts, "restart")),
        (totals.stops, plural(totals.stops, "stop")),
        (totals.removals, plural(totals.removals, "removal")),
        (totals.unknown, f"{totals.unknown} unknown"),
    )
    counted = [text for count, text in counts if count]
    wait = wait_words(totals.outage_s)
    if waiting and totals.restarts:
        counted[bool(totals.refusals)] += f" ({wait})"
    elif waiting and totals.outage_s != 0:
        counted.append(wait)
    return ", ".join(counted)


def host_names(names: Sequence[str], width: int) -> str:
    """Hosts as `hosts_named` names them, with as many names as fit; where they do not, a count and the first."""
    text = hosts_named(names)
    if columns(text) <= width or len(names) == 1:
        return cut(text, width)
    count = plural(len(names), "host")
    return f"{count} ({listed(list(names), width - len(count) - 3)})"


def sums(plan: Plan, begins: str, waiting: bool = True) -> str:
    """One line that ends a plan or an apply; unreachable, failed, skipped and unknown are told apart."""
    parts = [begins, totals_words(plan_totals(plan), waiting)]
    for outcome in (HostOutcome.UNREACHABLE, HostOutcome.FAILED, HostOutcome.SKIPPED):
        hosts = [host.host for host in plan.of(outcome)]
        if hosts:
            parts.append(f"{outcome}: {host_names(hosts, 40)}")
    return "; ".join(part for part in parts if part)


def changes_on_hosts(plan: Plan) -> str:
    """`212 changes on 4 of 5 hosts`."""
    changed = sum(1 for host in plan.hosts if host.tasks)
    return f"{plural(plan.changes, 'change')} on {changed} of {plural(len(plan.hosts), 'host')}"


# Refusals, failures, unknowns


def _sentences(mark: str, told: Sequence[Told], clean: Clean, width: int) -> list[MarkedLine]:
    """Each sentence whole, in as many lines as it needs; those that there is no room for are counted."""
    lines: list[MarkedLine] = []
    for number, one in enumerate(told):
        names = host_names([clean(name) for name in one.hosts], width // 2)
        text = wrapped(clean(one.text), width, "    ", first=f"{mark}: {names}: ")
        rest = told[number:]
        if lines and len(lines) + len(text) > SENTENCES - (len(rest) > 1):
            hosts = {name for left in rest for name in left.hosts}
            more = f"{mark}: {len(rest)} more on {plural(len(hosts), 'host')}; `-v` shows all"
            return [*lines, MarkedLine(cut(more, width), mark)]
        lines += [MarkedLine(text[0], mark), *map(MarkedLine, text[1:])]
    return lines


def _not_planned(plan: Plan, width: int) -> Iterable[tuple[str, str]]:
    """Hosts that could not be looked at, or not to the end; why is told with the errors."""

    def how(host: HostPlan) -> tuple[HostOutcome, str] | None:
        if host.outcome is HostOutcome.FAILED:
            return host.outcome, "planned up to an error" if host.tasks else "not planned"
        return (host.outcome, "not planned") if host.outcome is HostOutcome.UNREACHABLE else None

    for group in grouped(plan.hosts, how):
        what = how(group[0])
        if what is not None:
            names = host_names([host.host for host in group], width // 2)
            yield f"{what[0]}: {names}: {what[1]}", str(what[0])


# The table of hosts


def _table(plan: Plan, clean: Clean, width: int) -> list[MarkedLine]:
    """Totals by host, those that are alike in one row; the smallest together where there are too many."""
    by_host = [(host.host, totals) for host in plan.hosts if (totals := host_totals(host)) != PlanTotals()]
    rows = [([name for name, _ in group], group[0][1]) for group in grouped(by_host, lambda entry: entry[1])]
    others: list[tuple[list[str], PlanTotals]] = []
    if len(rows) > ROWS:
        rows.sort(key=lambda row: -_weight(row[1]))
        rows, others = rows[: ROWS - 1], rows[ROWS - 1 :]
    heads = ("changes", "restarts", "stops", "removals", "refusals", "unknown")
    shown = [head for head in heads if any(getattr(totals, head) for _, totals in [*rows, *others])]
    waits = any(totals.outage_s != 0 for _, totals in [*rows, *others])
    cells = [["HOSTS", *(head.upper() for head in shown), *(["CLIENTS WAIT"] if waits else [])]]
    for names, totals in rows:
        cells.append([host_names([clean(name) for name in names], width // 2), *_counts([totals], shown, waits)])
    if others:
        hosts = sum(len(names) for names, _ in others)
        cells.append([plural(hosts, "more host"), *_counts([totals for _, totals in others], shown, waits)])
    if len(cells) == 1:
        return []
    wide = [max(columns(row[number]) for row in cells) for number in range(len(cells[0]))]
    if sum(wide) + 2 * (len(wide) - 1) <= width:
        return [MarkedLine(_aligned(row, wide)) for row in cells]
    alike = [
        "; ".join(part for part in (plural(totals.changes, "change"), totals_words(totals)) if part)
        for _, totals in rows
    ]
    narrow = [f"{row[0]}: {sums_of_row}" for row, sums_of_row in zip(cells[1:], alike, strict=False)]
    return [MarkedLine(cut(line, width)) for line in [*narrow, *(row[0] for row in cells[len(narrow) + 1 :])]]


def _weight(totals: PlanTotals) -> int:
    """What a reader wants to see first: refusals, then what goes, stops, restarts, then much that changes."""
    grave = totals.refusals * 4 + totals.removals * 3 + totals.stops * 2 + totals.restarts
    return grave * 1000 + totals.changes


def _counts(several: list[PlanTotals], shown: list[str], waits: bool) -> list[str]:
    """Cells of one row: of hosts that are alike their counts, of others the least and the most."""
    cells = []
    for head in shown:
        counts = sorted({getattr(totals, head) for totals in several})
        cells.append(("-" if counts == [0] else str(counts[0])) if len(counts) == 1 else f"{counts[0]}-{counts[-1]}")
    if waits:
        outage_s = longest(totals.outage_s for totals in several)
        cells.append("not known" if outage_s is None else f"{outage_s:.0f} s" if outage_s else "-")
    return cells


def _aligned(row: list[str], wide: list[int]) -> str:
    """Names to the left, counts to the right."""
    first = row[0] + " " * (wide[0] - columns(row[0]))
    return "  ".join([first, *(cell.rjust(size) for cell, size in zip(row[1:], wide[1:], strict=True))])


# Changes


def _height(part: SharedPart, level: int) -> int:
    if level == FULL:
        return sum(max(1, len(task.things)) for task in part.tasks)
    return 1 + (sum(len(task.marked) for task in part.tasks) if level == FOLDED else 0)


def _levels(parts: Sequence[SharedPart], room: int) -> list[int]:
    """How much of each part is shown: all of all, else a line a role, and then the largest give way until all fit."""
    heads = len({part.hosts for part in parts})
    if heads + sum(_height(part, FULL) for part in parts) <= min(READ, room):
        return [FULL] * len(parts)
    levels = [FULL if _height(part, FULL) <= FEW else FOLDED for part in parts]
    height = heads + sum(_height(part, level) for part, level in zip(parts, levels, strict=True))
    saved = [_height(part, level) - _height(part, CLOSED) for part, level in zip(parts, levels, strict=True)]
    for number in sorted(range(len(parts)), key=lambda number: -saved[number]):
        if height <= room or saved[number] <= 0:
            break
        levels[number], height = CLOSED, height - saved[number]
    return levels


def _changes(parts: Sequence[SharedPart], levels: list[int], room: int, clean: Clean, width: int) -> list[MarkedLine]:
    """Hosts with what they have in common, as many groups of them as there is room for, and the rest counted."""
    groups = grouped(zip(parts, levels, strict=True), lambda entry: entry[0].hosts)
    heights = [1 + sum(_height(part, level) for part, level in group) for group in groups]
    kept = set(range(len(groups)))
    if sum(heights) > room:
        kept, left = set(), room - 1
        for number in sorted(range(len(groups)), key=lambda number: not _is_marked(groups[number])):
            if heights[number] <= left:
                kept.add(number)
                left -= heights[number]
    lines: list[MarkedLine] = []
    for number in sorted(kept):
        lines += _group(groups[number], clean, width)
    others = [group for number, group in enumerate(groups) if number not in kept]
    if others:
        lines.append(MarkedLine(cut(_rest(others), width)))
    return lines


def _is_marked(group: Sequence[tuple[SharedPart, int]]) -> bool:
    return any(task.marked for part, _ in group for task in part.tasks)


def _rest(groups: Sequence[Sequence[tuple[SharedPart, int]]]) -> str:
    parts = [part for group in groups for part, _ in group]
    hosts = {name for part in parts for name in part.hosts}
    changes = sum(len(part.tasks) * len(part.hosts) for part in parts)
    marked = sum(len(task.marked) * len(part.hosts) for part in parts for task in part.tasks)
    roles = ", ".join(dict.fromkeys(part.role for part in parts))
    grave = f", {marked} of things that restart, stop or go" if marked else ""
    return f"and {plural(changes, 'other change')} on {plural(len(hosts), 'host')}{grave} (`-v` shows all): {roles}"


def _group(group: Sequence[tuple[SharedPart, int]], clean: Clean, width: int) -> list[MarkedLine]:
    hosts: Names = group[0][0].hosts
    ends = ", each:" if len(hosts) > 1 else ":"
    head = host_names([clean(name) for name in hosts], width - len(ends)) + ends
    beside = width - columns(head) - 1
    if sum(_height(part, level) for part, level in group) == 1 and beside >= width // 2:
        [line] = [line for part, level in group for line in _part(part, level, clean, beside)]
        if not line.mark:  # a mark begins its line
            return [MarkedLine(f"{head} {line.text}")]
    lines = [line for part, level in group for line in _part(part, level, clean, width - 2)]
    return [MarkedLine(head), *(MarkedLine(f"  {line.text}", line.mark) for line in lines)]


def _part(part: SharedPart, level: int, clean: Clean, width: int) -> Iterable[MarkedLine]:
    if level == FULL:
        for task in part.tasks:
            yield from _task(task, task.things, clean, width)
        return
    names = [clean(task.name) for task in part.tasks]
    names = [f"{group[0]} ({len(group)} times)" if len(group) > 1 else group[0] for group in grouped(names, str)]
    marked = [(task, task.marked) for task in part.tasks if task.marked]
    counted = plural(len(part.tasks), "change")
    if level == CLOSED and marked:
        counted += ", " + totals_words(_totals([thing for _, things in marked for thing in things]))
    begins = f"{clean(part.role)}: {counted}: "
    yield MarkedLine(cut(begins + listed(names, max(12, width - columns(begins))), width))
    if level == FOLDED:
        for task, things in marked:
            yield from (MarkedLine(f"  {line.text}", line.mark) for line in _task(task, things, clean, width - 2))


def _totals(things: Sequence[ChangedThing]) -> PlanTotals:
    effects = [thing.effect for thing in things]
    return PlanTotals(
        restarts=effects.count(Effect.RESTART),
        stops=effects.count(Effect.STOP),
        removals=effects.count(Effect.REMOVAL),
        outage_s=longest(thing.outage_s for thing in things),
    )


def _task(task: SharedTask, things: Sequence[ChangedThing], clean: Clean, width: int) -> Iterable[MarkedLine]:
    """A line for each thing that is marked, and one for all the others of the task."""
    title = f"{clean(task.role)} | {clean(task.name)}"
    if not things:
        yield MarkedLine(cut(f"{title}: refused, see above", width))
    for thing in things:
        mark = mark_of(thing.effect, thing.outage_s)
        subjects = ", ".join(map(clean, thing.subjects))
        state = f": {clean(thing.state)}" if thing.state and len(thing.subjects) == 1 else ""
        yield MarkedLine(
            cut(f"{mark}{title}: {subjects}{state}", width), str(thing.effect) if thing.effect != Effect.CHANGE else ""
        )


def mark_of(effect: Effect, outage_s: float | None) -> str:
    """The beginning of a line on something that more than changes; empty for what only does."""
    wait = "wait not known" if outage_s is None else wait_words(outage_s)
    waits = "" if outage_s == 0 and effect is not Effect.RESTART else f" ({wait})"
    return f"{effect}{waits}: " if effect is not Effect.CHANGE else ""
