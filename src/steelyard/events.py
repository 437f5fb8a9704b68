"""What happens during a run, as values. Work emits them, a renderer shows them; nobody waits for a display."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from steelyard.errors import SteelyardError


@dataclass(frozen=True)
class Looking:
    """Hosts are connected to and looked at; `done` of `total` are through, well or not."""

    done: int
    total: int


@dataclass(frozen=True)
class WaveStarted:
    """Wave `number` of `total` begins with these hosts."""

    number: int
    total: int
    hosts: tuple[str, ...]


@dataclass(frozen=True)
class TaskStarted:
    """The first host of the run begins a task; number `index` of `total` tasks."""

    title: str
    index: int
    total: int


@dataclass(frozen=True)
class TaskChanged:
    """A task changed a host. `subjects` are the things changed."""

    host: str
    title: str
    subjects: tuple[str, ...]


@dataclass(frozen=True)
class BytesMoved:
    """`done` of `total` bytes of `what` were sent to one host; `done` never falls. Rates are the renderer's."""

    host: str
    what: str
    done: int
    total: int


@dataclass(frozen=True)
class HostFailed:
    """A host is out of the run. `last_words` are the last lines it said (20 at most)."""

    host: str
    error: SteelyardError
    last_words: tuple[str, ...]


@dataclass(frozen=True)
class Step:
    """A step of work that is not a task on a host, in one sentence."""

    text: str


Event = Looking | WaveStarted | TaskStarted | TaskChanged | BytesMoved | HostFailed | Step
Emit = Callable[[Event], None]


def ignore(event: Event) -> None:
    """An emitter for callers without a display."""
