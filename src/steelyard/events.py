"""What happens during a run, as values. Work emits them, a renderer shows them; nobody waits for a display."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from steelyard.errors import SteelyardError


class Looking(NamedTuple):
    """Hosts are connected to and looked at; `done` of `total` are through, well or not."""

    done: int
    total: int


class WaveStarted(NamedTuple):
    """Wave `number` of `total` begins with these hosts."""

    number: int
    total: int
    hosts: tuple[str, ...]


class TaskStarted(NamedTuple):
    """The first host of the run begins a task; number `number` of `total` tasks."""

    title: str
    number: int
    total: int


class TaskChanged(NamedTuple):
    """A task changed a host. `subjects` are the things changed."""

    host: str
    title: str
    subjects: tuple[str, ...]


class BytesMoved(NamedTuple):
    """`done` of `total` bytes of `what` were sent to one host; `done` never falls. Rates are the renderer's."""

    host: str
    what: str
    done: int
    total: int


class HostFailed(NamedTuple):
    """A host is out of the run. `last_words` are the last lines it said (20 at most)."""

    host: str
    error: SteelyardError
    last_words: tuple[str, ...]


class Step(NamedTuple):
    """A step of work that is not a task on a host, in one sentence."""

    text: str


Event = Looking | WaveStarted | TaskStarted | TaskChanged | BytesMoved | HostFailed | Step
Emit = Callable[[Event], None]


def ignore(event: Event) -> None:
    """An emitter for callers without a display."""
