"""Results of `steelyard wheels`. Tables are 100 columns wide at most; the whole list is in JSON, and with -v."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from steelyard.artifacts.wheel_plan import size_of

from .tables import made_table
from .text import hosts_named, plural

if TYPE_CHECKING:
    from steelyard.artifacts.wheel_plan import CollectedSet, PlannedSet
    from steelyard.artifacts.wheel_push import Delivered
    from steelyard.artifacts.wheel_resolution import Wheel
    from steelyard.artifacts.wheel_verify import VerifiedWheels
    from steelyard.errors import SteelyardError

    from .screen import Screen

SHOWN, WIDTH = 12, 100
NAME, VERSION, LICENCE = 34, 16, 32


def _wrapped(text: str) -> str:
    """A sentence on lines of its own where one is not enough."""
    return "\n".join(
        textwrap.wrap(text, WIDTH, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)
    )


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def licence_lines(wheels: Sequence[Wheel]) -> list[str]:
    """Lines of how many wheels have which licence, in the projects' own words; those that nobody has named are named
    here.
    """
    counted = Counter(_cut(wheel.licence, 40) for wheel in wheels if wheel.licence)
    parts = [f"{name} {count}" for name, count in counted.most_common(8)]
    rest = sum(counted.values()) - sum(count for _, count in counted.most_common(8))
    lines = ["licences: " + ", ".join([*parts, *([f"others {rest}"] if rest else [])])] if counted else []
    special = sorted(
        {
            wheel.project
            for wheel in wheels
            if wheel.licence and any(word in wheel.licence for word in ("Propriet", "End User"))
        }
    )
    if special:
        lines.append(
            f"terms of a vendor to be read: {', '.join(special[:6])}"
            + (f" and {len(special) - 6} more" if len(special) > 6 else "")
        )
    unknown = sorted(wheel.project for wheel in wheels if wheel.licence is None and wheel.url)
    if unknown:
        lines.append(
            f"licence unknown, METADATA names none or could not be read: {', '.join(unknown[:6])}"
            + (f" and {len(unknown) - 6} more" if len(unknown) > 6 else "")
        )
    return lines


def show_planned(screen: Screen, planned: Sequence[PlannedSet]) -> None:
    if screen.json:
        screen.document("wheels plan", {"sets": [_planned_row(planned_set) for planned_set in planned]})
        return
    for planned_set in planned:
        resolution = planned_set.resolution
        hosts = f", for {hosts_named(list(planned_set.hosts))}" if planned_set.hosts else ""
        screen.out(f"{resolution.chosen.title}: {resolution.target}{hosts}")
        by_size = sorted(resolution.wheels, key=lambda wheel: (-(wheel.size or 0), wheel.file))
        shown = by_size if screen.verbose else by_size[:SHOWN]
        table = made_table("WHEEL", "VERSION", "SIZE", "LICENCE")
        for wheel in shown:
            licence = wheel.licence or ("made here" if not wheel.url else "unknown")
            table.add_row(
                _cut(wheel.project, NAME), _cut(wheel.version, VERSION), size_of(wheel.size), _cut(licence, LICENCE)
            )
        screen.tables(table)
        rest = by_size[len(shown) :]
        if rest:
            screen.out(
                f"and {len(rest)} smaller ones, {size_of(sum(wheel.size or 0 for wheel in rest))} (-v shows all)"
            )
        for line in licence_lines(resolution.wheels):
            screen.out(_wrapped(line))
        unsized = sum(1 for wheel in resolution.wheels if wheel.size is None)
        screen.out(
            f"{plural(len(resolution.wheels), 'wheel')}, {size_of(resolution.total)}"
            + (f" and {unsized} whose size the index does not tell" if unsized else "")
            + f"; lock sha256 {resolution.lock_sha256}"
        )
        for note in planned_set.notes:
            screen.out(_wrapped(f"note: {note}"))
        for line in planned_set.unknown:
            screen.out(_wrapped(f"unknown: {line}"))


def _planned_row(planned_set: PlannedSet) -> dict[str, Any]:
    resolution = planned_set.resolution
    return {
        "set": resolution.chosen.build.name,
        "version": resolution.chosen.version,
        "target": resolution.target.as_json(),
        "hosts": list(planned_set.hosts),
        "bytes": resolution.total,
        "lock_sha256": resolution.lock_sha256,
        "wheels": [_wheel_row(wheel) for wheel in resolution.wheels],
        "notes": list(planned_set.notes),
        "unknown": list(planned_set.unknown),
    }


def _wheel_row(wheel: Wheel) -> dict[str, Any]:
    return {
        "file": wheel.file,
        "project": wheel.project,
        "version": wheel.version,
        "bytes": wheel.size,
        "sha256": wheel.sha256,
        "licence": wheel.licence,
        "url": wheel.url,
    }


def show_collected(screen: Screen, collected: Sequence[CollectedSet]) -> None:
    if screen.json:
        screen.document("wheels collect", {"sets": [vars(wheel_set) for wheel_set in collected]})
        return
    for wheel_set in collected:
        state = "collected" if wheel_set.fetched else "complete already"
        size = f"{plural(wheel_set.wheels, 'wheel')}, {size_of(wheel_set.bytes)}"
        screen.out(f"{wheel_set.name}: {state}: {size} in {wheel_set.folder}")
        screen.out(f"    lock sha256: {wheel_set.lock_sha256}")
        screen.out(f"    declare in group_vars: {wheel_set.declare}")


def show_verified_wheels(screen: Screen, verified: Sequence[VerifiedWheels]) -> None:
    if screen.json:
        rows = [
            {
                "set": wheel_set.folder.title,
                "folder": str(wheel_set.folder.path),
                "wheels": wheel_set.wheels,
                "lock_sha256": wheel_set.folder.lock_sha256,
                "problems": [vars(problem) for problem in wheel_set.problems],
                "unknown": list(wheel_set.unknown),
            }
            for wheel_set in verified
        ]
        screen.document("wheels verify", {"sets": rows})
        return
    for wheel_set in verified:
        for problem in wheel_set.problems:
            screen.out(f"{wheel_set.folder.title}: {problem.what}: {problem.file}: {problem.why}")
        for line in wheel_set.unknown:
            screen.out(f"{wheel_set.folder.title}: unknown: {line}")
        state = plural(len(wheel_set.problems), "problem") if wheel_set.problems else "as locked"
        wheels = plural(wheel_set.wheels, "wheel")
        screen.out(f"{wheel_set.folder.title}: {wheels}: {state}; lock sha256 {wheel_set.folder.lock_sha256}")


def show_delivered(screen: Screen, delivered: Sequence[Delivered], errors: dict[str, SteelyardError]) -> None:
    if screen.json:
        rows = [vars(delivery) for delivery in delivered]
        screen.document("wheels push", {"hosts": rows, "errors": [error.as_json() for error in errors.values()]})
        return
    for delivery in delivered:
        how = (
            f"{delivery.sent} of {plural(delivery.wheels, 'wheel')} sent, {size_of(delivery.bytes)}"
            if delivery.sent
            else "nothing to send"
        )
        screen.out(f"{delivery.host}: {delivery.name}: {how}; {delivery.folder}, lock sha256 {delivery.lock_sha256}")
    screen.failures()
