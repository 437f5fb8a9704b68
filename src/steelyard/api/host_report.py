"""A report on one host in one run: its connector and calls on the controller write it, and the engine tells it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from steelyard.errors import SteelyardError

from .run_slots import run_slot

if TYPE_CHECKING:
    from pyinfra.api.command import StringCommand
    from pyinfra.api.host import Host
    from pyinfra.api.state import State


@dataclass
class Traffic:
    """Costs of one host: counts of this run, shown by `-v` and held to budgets by tests."""

    connections: int = 0
    channels: int = 0
    round_trips: int = 0
    facts: int = 0
    remembered: int = 0
    commands: int = 0
    uploads: int = 0


class FailedCommand(NamedTuple):
    """The last command or fact that failed: its text, masked; how it ended; its last lines."""

    command: str
    ended: str
    lines: list[str]


@dataclass
class HostReport:
    """One host's report. `error` is why it is out of the run; pyinfra itself only knows that it failed.

    `audit` gives the line that the host notes of a command, and `on_progress` gets what a command says of how far it
    is: the engine sets both for the task that runs.
    """

    error: SteelyardError | None = None
    failed: FailedCommand | None = None
    traffic: Traffic = field(default_factory=Traffic)
    audit: Callable[[StringCommand], str] | None = None
    on_progress: Callable[[dict[str, Any]], None] | None = None


class HostReports(dict[str, HostReport]):
    """Reports of a run by host name."""

    def __missing__(self, name: str) -> HostReport:
        report = self[name] = HostReport()
        return report


def report_of(state: State, host: Host) -> HostReport:
    """Return the report of a host in a run; an empty one where nothing was said yet."""
    return run_slot(state, HostReports)[host.name]
