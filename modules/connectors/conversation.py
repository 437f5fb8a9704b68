"""A helper on a host that is talked with while it works: orders and chunks go in as frames, lines of JSON come out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from gevent.lock import RLock
from paramiko.channel import Channel

from steelyard_host.relay import FRAME, ORDER


class Conversation:
    """One channel; closing it ends the helper. Raises OSError and EOFError where the link ends."""

    def __init__(self, channel: Channel) -> None:
        self._channel, self._whole = channel, RLock()
        self.sent = 0  # bytes of chunks

    def order(self, what: dict[str, Any]) -> None:
        body = json.dumps(what).encode()
        self._write(FRAME.pack(ORDER, len(body)) + body)

    def _write(self, frame: bytes) -> None:
        with self._whole:  # who feeds and who orders are two greenlets
            self._channel.sendall(frame)

    def chunk(self, number: int, data: bytes) -> None:
        self._write(FRAME.pack(number, len(data)) + data)
        self.sent += len(data)

    def told(self) -> Iterator[dict[str, Any]]:
        """What the helper tells, until it ends. Words that are no JSON are its last ones: {"error": ...}."""
        kept = b""
        while data := self._channel.recv(65536):
            *lines, kept = (kept + data).split(b"\n")
            for line in lines:
                yield json.loads(line)
        errors = b"".join(iter(lambda: self._channel.recv_stderr(65536), b"")).decode(errors="replace").strip()
        if self._channel.recv_exit_status() != 0 and errors:
            yield {"error": errors.splitlines()[-1]}

    def bytes(self, count: int) -> bytes:
        """So many bytes of a helper that sends nothing else. Raises EOFError with its last words where it ends before."""
        parts = bytearray()
        while len(parts) < count:
            data = self._channel.recv(min(count - len(parts), 1 << 20))
            if not data:
                errors = b"".join(iter(lambda: self._channel.recv_stderr(65536), b"")).decode(errors="replace").strip()
                raise EOFError(errors.splitlines()[-1] if errors else "the link ended")
            parts += data
        return bytes(parts)

    def close(self) -> None:
        self._channel.close()
