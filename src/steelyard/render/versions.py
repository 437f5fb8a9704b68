"""Versions of the controller and of hosts: `version`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from .documents import Errors, Row, error_rows
from .text import hosts_named

if TYPE_CHECKING:
    from .screen import Screen


class Versioned(Protocol):
    """A host's versions, as `workflows` gives them."""

    @property
    def host(self) -> str: ...
    @property
    def programs(self) -> tuple[str, str, str]: ...
    @property
    def engines(self) -> tuple[str, ...]: ...
    @property
    def helper(self) -> str: ...
    @property
    def is_ours(self) -> bool: ...
    def as_json(self) -> Row: ...


def show_versions(
    screen: Screen, programs: Mapping[str, str], hosts: Sequence[Versioned] | None, errors: Errors
) -> None:
    """Show the controller's programs, and hosts where they were asked; a helper of another release with its fix."""
    if screen.json:
        rows = [host.as_json() for host in hosts or ()]
        screen.document("version", {"programs": dict(programs), "hosts": rows, "errors": error_rows(errors)})
        return
    screen.lines([f"{name} {version}" for name, version in programs.items()])
    if hosts is None:
        return
    from .tables import made_table

    table = made_table("HOST", "HELPER", "ENGINES", "HAPROXY", "SYSTEMD", "KERNEL")
    for row in hosts:
        table.add_row(row.host, row.helper, ", ".join(row.engines) or "-", *row.programs)
    screen.out("")
    screen.tables(table)
    other = [row.host for row in hosts if not row.is_ours]
    if other:
        names = ",".join(other)
        screen.out(f"\nhelper of another release, or none: {hosts_named(other, bool(screen.verbose))}")
        screen.out(f"  fix: `steelyard apply --deploy hosts -l {names}`")
    screen.failures()
