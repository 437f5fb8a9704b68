"""Events of a run, as values. Work emits them, a renderer shows them; no work waits for a display."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from steelyard.errors import SteelyardError

if TYPE_CHECKING:
    from steelyard.api.advice import Advice
    from steelyard.api.outcome import HostOutcome

CONNECTING, LOOKING, APPLYING = "connecting", "looking at", "applying to"


class RunStarted(NamedTuple):
    """Work on so many hosts begins, each at its own pace; `work` names it, as in `measuring 5 hosts`. `passing`: a step
    on the way, of which nobody keeps a line a host.
    """

    hosts: int
    work: str = LOOKING
    passing: bool = False


class WaveStarted(NamedTuple):
    """Wave `number` of `total` begins with these hosts."""

    number: int
    total: int
    hosts: tuple[str, ...]


class HostAt(NamedTuple):
    """A host is at a step that is no task of a deploy: it is connected to, or asked."""

    host: str
    step: str


class TaskStarted(NamedTuple):
    """A host begins a task."""

    host: str
    title: str


class TaskEnded(NamedTuple):
    """A host is through with a task, well or not."""

    host: str
    title: str


class HostEnded(NamedTuple):
    """A host is through, or out of the run. `outcome` None: it did what it was asked, and that is all there is to say;
    `changes`: tasks that would change it, or did.
    """

    host: str
    outcome: HostOutcome | None = None
    changes: int = 0


class TaskChanged(NamedTuple):
    """A task changed a host. `subjects` are the things changed."""

    host: str
    title: str
    subjects: tuple[str, ...]


class BytesMoved(NamedTuple):
    """`done` of `total` bytes of `what` are on a host; `total` 0: nobody knows. Rates are the renderer's."""

    host: str
    what: str
    done: int
    total: int


class TaskProgress(NamedTuple):
    """The progress that a host tells of its running task: text, or with `unit` so many of `total`; an empty text: it is
    over.
    """

    host: str
    what: str
    done: int = 0
    total: int = 0
    unit: str = ""


class HostFailed(NamedTuple):
    """A host has failed; it may go on with tasks that do not need the one which did. `last_words`: its last lines, 20
    at most.
    """

    host: str
    error: SteelyardError
    last_words: tuple[str, ...]


class Step(NamedTuple):
    """A step of work that is not a task on a host, in one sentence."""

    text: str


class SecretsKnown(NamedTuple):
    """Secrets of the inventory, as they are, beside those that were told before: no text that leaves from here on may
    hold one of them.
    """

    secrets: frozenset[str]

    def __repr__(self) -> str:
        return f"SecretsKnown({len(self.secrets)} secrets)"


class Advised(NamedTuple):
    """All advice on the inventory for the hosts of this run; it replaces what was given before."""

    advice: tuple[Advice, ...]


class ErrorReported(NamedTuple):
    """An error that is told beside the one that ends the command."""

    error: SteelyardError


class Resuming(NamedTuple):
    """A run goes on, on the hosts that the last one left; there may be none."""

    hosts: tuple[str, ...]


class HostsAsked(NamedTuple):
    """All hosts have answered or failed, and work goes on with those that answered: failures are explained now."""


Event = (
    RunStarted
    | WaveStarted
    | HostAt
    | TaskStarted
    | TaskEnded
    | HostEnded
    | TaskChanged
    | TaskProgress
    | BytesMoved
    | HostFailed
    | Step
    | SecretsKnown
    | Advised
    | ErrorReported
    | Resuming
    | HostsAsked
)
Emit = Callable[[Event], None]
LONGEST = 120  # characters of what a host says it is at


def ignore(event: Event) -> None:
    """An emitter for callers without a display."""


def progress_event(host: str, said: Mapping[str, object]) -> BytesMoved | TaskProgress:
    """The event of what a command on a host says of itself (`steelyard_host.wire.progress`); what no such command
    would say is left out.
    """
    done, total = _count(said.get("done")), _count(said.get("total"))
    what = "".join(sign if sign.isprintable() else " " for sign in str(said["what"])[:LONGEST])
    if said.get("unit") == "bytes":
        return BytesMoved(host, what, done, total)
    return TaskProgress(host, what, done, total, str(said.get("unit") or "")[:LONGEST])


def _count(value: object) -> int:
    return int(value) if isinstance(value, (int, float)) and 0 <= value < float("inf") else 0
