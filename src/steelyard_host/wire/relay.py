"""The talk of controller and helper while a version is pushed (`store-relay`) or shown from a NAS (`store-adopt`).

Commands and chunks go to the helper as frames, events come from it as JSON, an object a line; which it is, the key
says that is declared first. Numbers of chunks count over all files of the manifest; ranges are (first, last), and
sizes are bytes.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from steelyard_host.wire.codec import WireError, from_json

FRAME = struct.Struct(">II")  # number of the chunk, and how many bytes follow
ORDER = 0xFFFFFFFF  # the number of a command
LONGEST = 64 << 20  # bytes of a frame, or of an event's line; nobody sends more


class AdoptCommand(NamedTuple):
    """The only command of `store-adopt`."""

    manifest: dict[str, object]

    def as_json(self) -> dict[str, object]:
        """The object of its fields; the manifest is JSON already, and large."""
        return self._asdict()


class ReceiveCommand(NamedTuple):
    """The first command of `store-relay`.

    `certificate` and `key`: PEM, of this push; `address`: where the others reach the host; `rate`: bytes per second
    that it hands on, None for no limit; `base`: id of a version that chunks may be told as a delta to.
    """

    manifest: dict[str, object]
    certificate: str
    key: str
    address: str
    rate: int | None = None
    base: str | None = None

    def as_json(self) -> dict[str, object]:
        """The object of its fields; the manifest is JSON already, and large."""
        return self._asdict()


class Predecessor(NamedTuple):
    """The host that another one takes chunks from."""

    name: str
    address: str
    port: int


class PullCommand(NamedTuple):
    """The predecessor that the host asks for chunks from now on; None: they come from the controller."""

    pull: Predecessor | None


class MissingCommand(NamedTuple):
    """The helper is to say what is missing."""

    missing: bool = True


class EchoCommand(NamedTuple):
    """The helper is to say that it has read everything before."""

    echo: bool = True


class StopCommand(NamedTuple):
    """The helper is to end."""

    stop: bool = True


class Alive(NamedTuple):
    """The helper works on something that takes long."""

    alive: bool = True


class Ready(NamedTuple):
    """The host takes part. `ready`: the port where it hands on; `bytes`: what it has; `base`: None without that
    version.
    """

    ready: int
    missing: tuple[tuple[int, int], ...]
    bytes: int
    base: str | None = None


class Missing(NamedTuple):
    """The ranges of chunks that the host has not."""

    missing: tuple[tuple[int, int], ...]


class Echo(NamedTuple):
    """The helper has read everything before the echo command."""

    echo: bool = True


class BytesHeld(NamedTuple):
    """The number and the bytes of chunks that the host has now."""

    at: int
    bytes: int


class Lost(NamedTuple):
    """The predecessor of this name can no longer be taken from."""

    lost: str
    why: str


class CorruptChunk(NamedTuple):
    """Chunk number `chunk` of a file, which came from `peer` with other bytes."""

    file: str
    chunk: int
    peer: str


class Corrupt(NamedTuple):
    """A chunk was not what it should be, and is not kept."""

    corrupt: CorruptChunk


class Published(NamedTuple):
    """The version is in the store. `published`: id of its manifest; `received`: bytes that came over any link."""

    published: str
    received: int = 0


class Adopted(NamedTuple):
    """The version is shown in the store; its manifest's id."""

    published: str


class Failed(NamedTuple):
    """The helper ends without having published anything. `error`: a sentence."""

    error: str


class ChunkRequest(NamedTuple):
    """A host asks its predecessor for ranges of a version, as a delta to `base` where that one has it too."""

    version: str
    want: tuple[tuple[int, int], ...]
    base: str | None = None


def are_ranges(ranges: tuple[tuple[int, int], ...], count: int) -> bool:
    """Whether these are ranges of the numbers below `count`, in order and apart: what a peer may ask for, or lack."""
    edges = [edge for first, last in ranges for edge in (first, last + 1)]
    return all(low <= high for low, high in zip([0, *edges], [*edges, count])) and all(
        first <= last for first, last in ranges
    )


if TYPE_CHECKING:
    RelayCommand = PullCommand | MissingCommand | EchoCommand | StopCommand
    RelayEvent = Alive | Ready | Missing | Echo | BytesHeld | Lost | Corrupt | Published | Failed

COMMANDS = (StopCommand, EchoCommand, MissingCommand, PullCommand)
EVENTS = (Alive, Ready, Echo, BytesHeld, Missing, Published, Corrupt, Lost, Failed)


def relay_command(document: object) -> RelayCommand | None:
    """The command that a JSON object says; None for one that is not known here. Raises WireError."""
    return _told_apart(COMMANDS, document)  # type: ignore[return-value]


def relay_event(document: object) -> RelayEvent | None:
    """The event that a JSON object says; None for one that is not known here. Raises WireError."""
    return _told_apart(EVENTS, document)  # type: ignore[return-value]


def _told_apart(kinds: tuple[type[tuple[object, ...]], ...], document: object) -> object:
    if not isinstance(document, dict):
        raise WireError("", "an object is expected")
    for kind in kinds:
        if kind._fields[0] in document:  # type: ignore[attr-defined]
            return from_json(kind, document)
    return None
