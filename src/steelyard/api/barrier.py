"""Points of a deploy that every host reaches before any goes on. An operation declares one; whoever executes looks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .run_slots import run_slot

if TYPE_CHECKING:
    from pyinfra.api.state import State


class Barriers(set[str]):
    """Hashes of the tasks of a run that are barriers."""


def declare_barrier(state: State, op_hash: str) -> None:
    """Make the task `op_hash` one at which hosts wait for each other. Plain pyinfra waits at every task anyway."""
    run_slot(state, Barriers).add(op_hash)


def barriers_of(state: State) -> set[str]:
    """Return the hashes of the run's barriers."""
    return run_slot(state, Barriers)
