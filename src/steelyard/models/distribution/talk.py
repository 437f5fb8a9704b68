"""The talk with a helper, as a push needs it, wherever that runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol, TypeVar

Event = TypeVar("Event")


class Talk(Protocol):
    """A helper that is talked with while it works; steelyard_host.wire.relay declares what is said."""

    sent: int

    def send_command(self, command: NamedTuple) -> None: ...
    def chunk(self, number: int, data: bytes) -> None: ...
    def events(self, read: Callable[[object], Event]) -> Iterator[Event]: ...
    def close(self) -> None: ...


class Ended(NamedTuple):
    """The helper, or the link to it, ended: nothing comes after this."""
