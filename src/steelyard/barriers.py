"""Points of a deploy that every host reaches before any goes on. An operation declares one; whoever executes looks."""

from __future__ import annotations

from typing import Any


def declare_barrier(state: Any, op_hash: str) -> None:
    """The task `op_hash` is where hosts meet. Plain pyinfra waits at every task anyway."""
    state.__dict__.setdefault("barriers", set()).add(op_hash)


def barriers_of(state: Any) -> set[str]:
    found: set[str] = state.__dict__.get("barriers", set())
    return found
