"""The JSON documents. Their schemas are in docs/reference/schemas; a change of shape is a contract, and a CHANGELOG entry."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from steelyard.errors import Exit, SteelyardError

if TYPE_CHECKING:
    from steelyard.drift.drifted import Drifted
    from steelyard.engine.plan import HostPlan, Plan

JSON_VERSION = 2


def plan_document(plan: Plan, ended: Exit, stopped: SteelyardError | None = None) -> dict[str, Any]:
    """Of plan and apply. `stopped` is what ended the whole run before its end."""
    return {
        "hosts": [host_document(host) for host in plan.hosts],
        "changes": plan.changes,
        "stopped": stopped.as_json() if stopped else None,
        "exit": int(ended),
    }


def drift_document(drifted: Drifted, plan: Plan, ended: Exit) -> dict[str, Any]:
    """`findings` count; `excepted` are those that a declared exception covers, with it."""
    return {
        "findings": [finding.as_json() for finding in drifted.findings],
        "excepted": [{**finding.as_json(), "exception": exception.as_json()} for finding, exception in drifted.excepted],
        "errors": [error.as_json() for error in plan.errors],
        "hosts": [host_document(host) for host in plan.hosts],
        "exit": int(ended),
    }


def host_document(host: HostPlan) -> dict[str, Any]:
    return {
        "host": host.host,
        "outcome": str(host.outcome),
        "in_sync": host.in_sync,
        "tasks": [{"code": task.code, **asdict(task)} for task in host.tasks],
        "unknown": [unknown._asdict() for unknown in host.unknown],
        "error": host.error.as_json() if host.error else None,
        "last_words": list(host.last_words),
        "ssh": asdict(host.traffic) if host.traffic else None,
    }
