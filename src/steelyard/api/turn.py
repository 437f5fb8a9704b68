"""Turns: tasks in which a host takes away what other hosts offer as well. Of all hosts that have tasks of a turn, one
at a time is in it.

A role says which of its tasks belong to a turn, and whoever executes looks. Plain pyinfra takes no notice: it runs
every task on all hosts side by side.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .change import Change
from .run_slots import run_slot

if TYPE_CHECKING:
    from pyinfra.api.state import State


class Return(Change):
    """A change that brings back what does not serve now: other hosts of its turn do not leave before it has."""


@dataclass(frozen=True)
class ReplicaTurn:
    """A host's part of what several hosts offer: the alias `name`, whose `server` it is for gateways."""

    name: str
    server: str


@dataclass
class Turns:
    """The turns of a run: of each task of each host, and of each host its tasks in a turn, in their order."""

    by_task: dict[tuple[str, str], tuple[ReplicaTurn, ...]] = field(default_factory=dict)
    by_turn: dict[tuple[str, str], list[str]] = field(default_factory=dict)

    def declare(self, host: str, op_hash: str, turns: tuple[ReplicaTurn, ...]) -> None:
        """A task of a host belongs to these turns, beside those that it belongs to already."""
        known = self.by_task.get((host, op_hash), ())
        self.by_task[host, op_hash] = (*known, *(turn for turn in turns if turn not in known))
        for turn in turns:
            tasks = self.by_turn.setdefault((host, turn.name), [])
            if op_hash not in tasks:
                tasks.append(op_hash)

    def of(self, host: str, op_hash: str) -> tuple[ReplicaTurn, ...]:
        """Return the turns of a task."""
        return self.by_task.get((host, op_hash), ())

    def is_last(self, host: str, op_hash: str, turn: ReplicaTurn) -> bool:
        """Whether the host has no later task in this turn."""
        return self.by_turn[host, turn.name][-1] == op_hash


@contextmanager
def in_turn(*turns: ReplicaTurn) -> Iterator[None]:
    """Tasks of this block belong to the turns. Where one of a host's tasks in a turn disturbs, the host waits for the
    turn before the first of them that changes anything, and gives it back after the last.

    >>> with in_turn(ReplicaTurn("chat", "alias-chat/gpu-1")):
    ...     running(name="Run the service", unit="steelyard-vllm@chat.service", config=stamp)
    """
    from pyinfra.context import host, state

    before = len(host.op_hash_order)
    yield
    for op_hash in host.op_hash_order[before:]:
        run_slot(state, Turns).declare(host.name, op_hash, turns)


def turns_of(state: State) -> Turns:
    """Return the turns of the run's tasks."""
    return run_slot(state, Turns)
