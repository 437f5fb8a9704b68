"""Tasks that can be foreseen: what they do follows from their arguments and the host's answers, and from nothing else.

A host may carry several of them out without a word in between: it asks again, right before each task, what the task's
plan rests on, and goes no further where an answer is another one. Plain pyinfra takes no notice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import wraps
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

from .run_slots import run_slot

if TYPE_CHECKING:
    from pyinfra.api.command import PyinfraCommand, StringCommand

Operation = TypeVar("Operation", bound=Callable[..., Any])


@dataclass(frozen=True)
class Question:
    """A fact as it was asked: its whole command."""

    text: str


@dataclass
class Foreseen:
    """A run's tasks, by host and task: which can be foreseen, and what each asked and would do, in its order.

    `keeps`: whether somebody is going to carry them out; a look alone keeps nothing.
    """

    keeps: bool = False
    tasks: set[tuple[str, str]] = field(default_factory=set)
    steps: dict[tuple[str, str], list[Question | PyinfraCommand]] = field(default_factory=dict)

    def note(self, host: str, op_hash: str | None, step: Question | PyinfraCommand) -> None:
        """A task asked or would do this next."""
        if self.keeps and op_hash is not None:
            self.steps.setdefault((host, op_hash), []).append(step)

    def is_open(self, host: str, op_hash: str | None) -> None:
        """A task asked in a way that cannot be asked ahead."""
        if op_hash is not None:
            self.tasks.discard((host, op_hash))

    def forget(self, host: str, op_hashes: Iterable[str]) -> None:
        """Forget tasks that nobody carries out."""
        for op_hash in op_hashes:
            self.tasks.discard((host, op_hash))
            self.steps.pop((host, op_hash), None)


def foreseen(operation: Operation) -> Operation:
    """Declare that an operation can be foreseen: it reads no clock, no other host, nothing that changes on the
    controller, and not whether it is a plan that asks.

    >>> @foreseen
    ... @operation()
    ... def folder(path: str) -> Generator[StringCommand, None, None]: ...
    """

    @wraps(operation)
    def called(*args: Any, **kwargs: Any) -> Any:
        from pyinfra.context import host, state

        before = len(host.op_hash_order)
        made = operation(*args, **kwargs)
        run_slot(state, Foreseen).tasks.update((host.name, op_hash) for op_hash in host.op_hash_order[before:])
        return made

    return cast(Operation, called)


@dataclass(frozen=True)
class Order:
    """A command with the arguments that it is run with, and the line that the host notes of it."""

    command: StringCommand
    arguments: Mapping[str, Any]
    audit: str


@dataclass(frozen=True)
class TaskAhead:
    """Steps of a task, in its order: what it asks, and what it does."""

    steps: tuple[Question | Order, ...]


class GoesAhead(Protocol):
    """A connector whose host can be sent several tasks at once. Each is then run as ever, and finds what came of it."""

    def knows(self, question: Question) -> bool:
        """Whether the host answered it when the run was planned."""

    def send_ahead(self, tasks: Sequence[TaskAhead], is_stopped: Callable[[], bool]) -> None:
        """Send them; the host begins no further one once `is_stopped` says so. Raises HostError."""

    def begins_ahead(self) -> bool:
        """Whether the host begins the next task that it was sent: waits until it says so, or is at its end."""

    def end_ahead(self) -> None:
        """All that was sent is to have come to its end. Raises HostError where it did more than the tasks asked for."""
