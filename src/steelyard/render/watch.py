"""The picture of `status --watch`: one screen, whatever the number of hosts, and what is wrong stands first.

Hosts and services have a line each where all of them fit. Where they do not, what is wrong is said, hosts with the same
trouble once, and groups are summed up below it. Pure but for the screen that it is made for.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from .documents import Errors
from .fleet import status_lines
from .services import WELL, gateway_view, is_amiss, version
from .tables import INNER
from .text import grouped, named, plural
from .width import COLUMNS, MarkedLine, columns, cut, wrapped

if TYPE_CHECKING:
    from steelyard.errors import SteelyardError
    from steelyard.inventory.fleet import Fleet
    from steelyard.site.observed import Observed, ServiceRow

    from .screen import Screen

HOME, EMPTY = "\x1b[H", "\x1b[2J"
HEADS = ["GROUP", "HOSTS", "SILENT", "SERVICES", "ACTIVE", "AMISS"]
NARROW = (0, 1, 2, 5)  # of these
SHARE = 2  # of the lines, at least a half is for what is wrong, where there is so much of it


class Look(NamedTuple):
    """One look of many: what hosts and gateways answered. `asked`: gateways that were asked; `at`: the time of day."""

    fleet: Fleet
    observed: Observed
    rows: Sequence[ServiceRow]
    errors: Errors
    asked: Sequence[str]
    at: str

    @property
    def hosts(self) -> list[str]:
        """The hosts that were asked, in the order of the inventory."""
        return [host.name for host in self.fleet.hosts if host.name in self.observed.hosts or host.name in self.errors]


class Trouble(NamedTuple):
    """A thing that is wrong on a host; `mark` is its kind, and the worst kinds come first."""

    mark: str
    what: str
    host: str


MARKS = ("unreachable", "failed", "unknown", "")  # the worst first


class Picture:
    """The picture on a terminal, drawn over the one before in a single stroke, so that nothing flickers."""

    def __init__(self, screen: Screen, every: float) -> None:
        self._screen, self._every, self._begun = screen, every, False

    def show(self, look: Look) -> None:
        """Draw what was seen. The terminal may have another size than it had before."""
        size = shutil.get_terminal_size((COLUMNS, 24))
        lines = picture(self._screen, look, self._every, size.columns, max(1, size.lines - 1))  # the cursor is below
        begins = HOME if self._begun else HOME + EMPTY
        self._begun = True
        # each line is emptied before it is written: behind one as wide as the terminal its last letter would go
        sys.stdout.write(begins + "".join(f"\x1b[2K{line}\n" for line in lines) + "\x1b[J")
        sys.stdout.flush()


def picture(screen: Screen, look: Look, every: float, width: int, height: int) -> list[str]:
    """The lines of the picture as a terminal shows them: `height` at most, of `width` columns at most."""
    head = screen.clean(f"{look.at}, every {every:g} s: {_sums(look)}")
    if len(look.hosts) + len(look.rows) < height:  # else they cannot fit, and a large table takes its time
        tables = status_lines(screen, look.fleet, look.observed, look.rows, look.errors, look.asked, True)
        lines = [part for line in (*tables, *screen.reasons()) for part in _within(line, width)]
        if len(lines) + 2 <= height:
            return [cut(head, width), "", *lines]
    screen.reasons()  # told in a line
    wrong = [MarkedLine(screen.clean(line.text), line.mark) for line in wrong_lines(list(troubles(look)))]
    groups = group_lines(look, screen, width)
    return [screen.in_colour(line) for line in _summed([MarkedLine(head), *wrong], groups, width, height)]


def _summed(said: list[MarkedLine], groups: list[str], width: int, height: int) -> list[MarkedLine]:
    """What is wrong, whole where there is room for it, then the groups; each with a count of what is left out."""
    below = [MarkedLine(cut(line, width)) for line in groups]
    whole = [part for line in said for part in _parts(line, width)]
    if len(whole) + len(below) <= height:
        return [*whole, *below]
    said = [MarkedLine(cut(line.text, width), line.mark) for line in said]
    of_groups = min(len(below), max(height // SHARE, height - len(said)))
    lines = _most(said, height - of_groups, width, "kind of trouble", "kinds of trouble")
    return [*lines, *(_most(below, height - len(lines), width, "group") if below else [])]


def _most(lines: list[MarkedLine], room: int, width: int, what: str, many: str = "") -> list[MarkedLine]:
    """The first of the lines, and how many more there are."""
    if len(lines) <= room:
        return lines
    hidden = len(lines) - max(0, room - 1)
    more = MarkedLine(cut(f"and {plural(hidden, what, many)} more", width))
    return [*lines[: max(0, room - 1)], more][: max(0, room)]


def _parts(line: MarkedLine, width: int) -> list[MarkedLine]:
    first, *others = _within(line.text, width)
    return [MarkedLine(first, line.mark), *(MarkedLine(part) for part in others)]


def _within(line: str, width: int) -> list[str]:
    """The line as lines of the terminal; those of tables, which may have colours, fit already."""
    if "\x1b" in line or columns(line) <= width:
        return [line]
    indent = " " * (len(line) - len(line.lstrip()))
    return wrapped(line, width, f"{indent}  ", indent)


def _sums(look: Look) -> str:
    """`500 hosts, 3 silent; 812 services, 4 not as they should be`."""
    amiss = sum(1 for row in look.rows if is_amiss(row, bool(look.observed.gateways)))
    silent = len(look.errors)
    bare = sum(1 for status in look.observed.hosts.values() if status is None)
    hosts = [plural(len(look.hosts), "host"), *([f"{silent} silent"] if silent else [])]
    hosts += [f"{bare} not provisioned"] if bare else []
    services = [plural(len(look.rows), "service"), *([f"{amiss} amiss"] if amiss else [])]
    return "; ".join([", ".join(hosts), ", ".join(services) if amiss or not look.rows else f"{services[0]}, all well"])


def troubles(look: Look) -> Iterator[Trouble]:
    """All things that are wrong, host by host."""
    from steelyard.api.outcome import outcome_of

    for name in look.hosts:
        error = look.errors.get(name)
        if error is not None:
            yield Trouble(str(outcome_of(error)), _reason(error, name), name)
        elif look.observed.hosts[name] is None:
            yield Trouble("unknown", "not provisioned", name)
    asked = bool(look.observed.gateways)
    for name in look.asked:
        if name not in look.observed.gateways and look.observed.hosts.get(name) is not None:
            yield Trouble("failed", "HAProxy gives no answer", name)
    for row in look.rows:
        if look.observed.hosts.get(row.host) is not None and is_amiss(row, asked):
            yield _of_service(row, asked)


def _of_service(row: ServiceRow, asked: bool) -> Trouble:
    called = row.name if row.alias in (None, row.name) else f"{row.name} ({row.alias})"
    if row.live is None:
        return Trouble("failed", f"{called}: not set up", row.host)
    if row.declared is None:
        return Trouble("", f"{called}: {row.state}, not declared", row.host)
    if row.state not in WELL:
        return Trouble("failed", f"{called}: {row.state}", row.host)
    if row.live.trial is not None:
        return Trouble("", f"{called}: on trial", row.host)
    if row.version not in (None, row.declared.version):
        return Trouble("", f"{called}: {version(row)}", row.host)
    return Trouble("failed", f"{called}: at the gateway {gateway_view(row, asked)}", row.host)


def _reason(error: SteelyardError, host: str) -> str:
    """The sentence of an error, the same for hosts with the same trouble."""
    sentence = error.sentence.format(**vars(error))
    for place in (host, str(getattr(error, "address", ""))):
        if place:
            sentence = sentence.replace(place, "the host")
    return sentence.removeprefix("unreachable: ")


def wrong_lines(found: Sequence[Trouble]) -> list[MarkedLine]:
    """A line a kind of trouble with its hosts, the worst first, and of the same weight the most hosts."""
    kinds = grouped(found, lambda trouble: (trouble.mark, trouble.what))
    kinds.sort(key=lambda kind: (MARKS.index(kind[0].mark), -len(kind)))
    return [MarkedLine(_kind(kind[0], [trouble.host for trouble in kind]), kind[0].mark) for kind in kinds]


def _kind(trouble: Trouble, hosts: Sequence[str]) -> str:
    """The names stand last: they are what a narrow line can do without."""
    mark = trouble.mark or "notice"
    if len(hosts) == 1:
        return f"{mark}: {hosts[0]}: {trouble.what}"
    return f"{mark}: {len(hosts)} hosts: {trouble.what} ({named(hosts)})"


def group_lines(look: Look, screen: Screen, width: int) -> list[str]:
    """A table of the groups of the inventory, those with the most trouble first; none where there is none."""
    from .fleet_progress import aligned

    hosts, rows = set(look.hosts), grouped(look.rows, lambda row: row.host)
    services: Mapping[str, Sequence[ServiceRow]] = {group[0].host: group for group in rows}
    asked = bool(look.observed.gateways)
    sums = []
    for group, members in look.fleet.groups.items():
        here = [name for name in members if name in hosts]
        if group in INNER or not here:
            continue
        mine = [row for name in here for row in services.get(name, ())]
        silent = sum(1 for name in here if name in look.errors)
        active = sum(1 for row in mine if row.state == "active")
        amiss = sum(1 for row in mine if is_amiss(row, asked))
        sums.append((screen.clean(group), len(here), silent, len(mine), active, amiss))
    if not sums:
        return []
    sums.sort(key=lambda row: (-row[2] - row[5], row[0]))
    cells = [HEADS, *([str(cell) for cell in row] for row in sums)]
    table = aligned(cells)
    if max(map(columns, table)) > width:  # what is wrong is what a narrow one is for
        table = aligned([[row[number] for number in NARROW] for row in cells])
    return table
