"""Groups of a host's tasks that do not need each other: where a task fails, the later ones of its group are not begun,
and those of the other groups are.

The host has failed all the same. Plain pyinfra takes no notice: a host ends there with its first failure.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .run_slots import run_slot

if TYPE_CHECKING:
    from pyinfra.api.state import State

WHOLE_HOST = ""


@dataclass(frozen=True)
class TaskGroup:
    """A group's name, which is unique on its host, and the groups that it needs."""

    name: str
    needs: tuple[str, ...] = ()


class TaskGroups(dict[tuple[str, str], TaskGroup]):
    """Groups of a run's tasks, by host and task."""


class LostGroups(set[tuple[str, str]]):
    """Groups that failed in a run, each with its host; `WHOLE_HOST` is all that a host had to do."""


@contextmanager
def task_group(name: str, *needs: str) -> Iterator[None]:
    """Tasks of this block are a group. One that is in a group of a block inside stays in that.

    >>> with task_group("service chat", "engine vllm"):
    ...     file(name="Write the engine's key", path="/etc/steelyard/keys/chat", content=key, secret=True)
    """
    from pyinfra.context import host, state

    before = len(host.op_hash_order)
    yield
    groups = run_slot(state, TaskGroups)
    for op_hash in host.op_hash_order[before:]:
        groups.setdefault((host.name, op_hash), TaskGroup(name, needs))


def group_of(state: State, host: str, op_hash: str) -> TaskGroup | None:
    """Return the group of a host's task; None where it is in none."""
    return run_slot(state, TaskGroups).get((host, op_hash))


def lose(state: State, host: str, group: str = WHOLE_HOST) -> None:
    """Note that a group failed on a host, or the host itself."""
    run_slot(state, LostGroups).add((host, group))


def is_lost(state: State, host: str, *groups: str) -> bool:
    """Whether one of these groups failed on the host in this run, or the host itself."""
    lost = run_slot(state, LostGroups)
    return any((host, group) in lost for group in (WHOLE_HOST, *groups))
