"""A helper on a host that answers while it works: commands and chunks go in as frames, events come out as lines of
JSON.

Both are declared values; those of a push stand in steelyard_host.wire.relay.
"""

from __future__ import annotations

import builtins
import json
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

from gevent.lock import RLock
from paramiko.channel import Channel

from steelyard_host.wire.codec import to_json
from steelyard_host.wire.relay import FRAME, LONGEST, ORDER

Event = TypeVar("Event")


class HelperStream:
    """One channel; closing it ends the helper. Every method raises OSError or EOFError where the link ends."""

    def __init__(self, channel: Channel, greeting: builtins.bytes = b"") -> None:
        """`greeting`: the line before which nothing is the helper's."""
        self._channel, self._lock, self._greeting = channel, RLock(), greeting
        self.sent = 0  # bytes of chunks

    def send_command(self, command: NamedTuple) -> None:
        """Tell the helper what to do next, by a value of the wire."""
        body = json.dumps(to_json(command)).encode()
        self._write(FRAME.pack(ORDER, len(body)) + body)

    def _write(self, frame: bytes) -> None:
        with self._lock:  # who feeds and who commands are two greenlets
            self._channel.sendall(frame)

    def chunk(self, number: int, data: bytes) -> None:
        """Send chunk `number`; its bytes count as `sent`."""
        self._write(FRAME.pack(number, len(data)) + data)
        self.sent += len(data)

    def events(self, read: Callable[[object], Event]) -> Iterator[Event]:
        """Yield what the helper says, until it ends, each as `read` makes it of a line's JSON.

        Last words that are no JSON are read as {"error": ...}. Raises ValueError where a line is none, or longer than a
        frame may be, or `read` does.
        """
        rest = bytearray()
        while data := self._received(65536):
            *lines, end = data.split(b"\n")
            for line in lines:
                yield read(json.loads(rest + line))
                rest.clear()
            rest += end
            if len(rest) > LONGEST:
                raise ValueError(f"a line of more than {LONGEST} bytes")
        last = self._last_line()
        if self._channel.recv_exit_status() != 0 and last:
            yield read({"error": last})

    def bytes(self, count: int) -> bytes:
        """Return so many bytes of a helper that sends nothing else. Raises EOFError with its last words where it ends
        before.
        """
        parts = bytearray()
        while len(parts) < count:
            data = self._received(min(count - len(parts), 1 << 20))
            if not data:
                raise EOFError(self._last_line() or "the link ended")
            parts += data
        return bytes(parts)

    def _received(self, most: int) -> builtins.bytes:
        """Bytes of the helper; what stands before its greeting is passed over."""
        before = b""
        while self._greeting:
            data = self._channel.recv(1)  # a byte too many would be the helper's
            if not data:
                return b""
            before = (before + data)[-len(self._greeting) :]  # a login file may print for as long as it likes
            if before == self._greeting:
                self._greeting = b""
        return self._channel.recv(most)

    def _last_line(self) -> str:
        """The last line on the helper's standard error; empty where there is none."""
        last = b""
        while data := self._channel.recv_stderr(65536):
            last = (last + data)[-65536:]
        lines = last.decode(errors="replace").strip()
        return lines.splitlines()[-1] if lines else ""

    def close(self) -> None:
        """Close the channel, which ends the helper."""
        self._channel.close()
