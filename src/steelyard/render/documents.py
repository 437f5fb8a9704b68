"""The JSON documents. Their schemas are in docs/reference/schemas; a change of shape is a contract, and a CHANGELOG
entry.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, TypedDict

from steelyard.errors import Exit, SteelyardError

if TYPE_CHECKING:
    from steelyard.api.advice import Advice
    from steelyard.drift.report import DriftReport
    from steelyard.engine.plan import HostPlan, Plan, Task

JSON_VERSION = 2
Errors = Mapping[str, SteelyardError]  # by host
Row = dict[str, object]  # a value's own fields, as it gives them


class HostDocument(TypedDict):
    """The part of plan, apply and drift on one host. `in_sync`: how many of its tasks would change nothing."""

    host: str
    outcome: str
    in_sync: int
    totals: Row
    tasks: list[Row]
    unknown: list[Row]
    error: dict[str, str] | None
    last_words: list[str]
    ssh: Row | None


class PlanDocument(TypedDict):
    """The document of plan and apply. `stopped` is what ended the whole run before its end."""

    hosts: list[HostDocument]
    changes: int
    totals: Row
    advice: list[Row]
    stopped: dict[str, str] | None
    exit: int


class DriftDocument(TypedDict):
    """The document of drift. `findings` count; `excepted` are those that a declared exception covers, with it.

    `consequences` go away with their cause: `because_of` is its id, or the host that could not be looked at.
    """

    findings: list[Row]
    excepted: list[Row]
    consequences: list[Row]
    errors: list[dict[str, str]]
    hosts: list[HostDocument]
    exit: int


def error_rows(errors: Errors) -> list[dict[str, str]]:
    """Errors by host as every document has them under `errors`."""
    return [error.as_json() for error in errors.values()]


def error_document(error: SteelyardError) -> Row:
    """Return the document of a command that ended before it began: the error alone.

    Fields of its own that a document has as well are `error_version` and `error_command`.
    """
    taken = {"version": "error_version", "command": "error_command"}
    return {"version": JSON_VERSION, **{taken.get(name, name): value for name, value in error.as_json().items()}}


def plan_document(
    plan: Plan, code: Exit, stopped: SteelyardError | None = None, advice: Sequence[Advice] = ()
) -> PlanDocument:
    """The document of a plan, or of what was applied of it; `advice` is beside that of the hosts' own roles."""
    from steelyard.engine.plan_totals import plan_totals  # whoever has a plan has loaded pyinfra

    return {
        "hosts": [host_document(host) for host in plan.hosts],
        "changes": plan.changes,
        "totals": plan_totals(plan).as_json(),
        "advice": [entry._asdict() for entry in (*plan.advice, *advice)],
        "stopped": stopped.as_json() if stopped else None,
        "exit": int(code),
    }


def drift_document(report: DriftReport, plan: Plan, code: Exit) -> DriftDocument:
    """The document of a drift report; `plan` says which hosts were looked at."""
    return {
        "findings": [{**finding.as_json()} for finding in report.findings],
        "excepted": [{**finding.as_json(), "exception": exception.as_json()} for finding, exception in report.excepted],
        "consequences": [{**consequence.as_json()} for consequence in report.consequences],
        "errors": [error.as_json() for error in plan.errors],
        "hosts": [host_document(host) for host in plan.hosts],
        "exit": int(code),
    }


def _task(task: Task) -> Row:
    """A task with its commands as they are shown; the error of a refusal is told by its words."""
    commands = []
    for command in task.commands:
        row = asdict(replace(command, error=None))  # an exception cannot be copied
        del row["error"]
        commands.append(row)
    return {"code": task.code, "role": task.role, "name": task.name, "commands": commands}


def host_document(host: HostPlan) -> HostDocument:
    """The part of a document that is about one host."""
    from steelyard.engine.plan_totals import host_totals

    return {
        "host": host.host,
        "outcome": str(host.outcome),
        "in_sync": host.in_sync,
        "totals": host_totals(host).as_json(),
        "tasks": [_task(task) for task in host.tasks],
        "unknown": [unknown._asdict() for unknown in host.unknown],
        "error": host.error.as_json() if host.error else None,
        "last_words": list(host.last_words),
        "ssh": asdict(host.traffic) if host.traffic else None,
    }
