"""Hosts of a push that are only processes: the real helper, real TLS over loopback, a folder instead of a machine.

For tests of what goes wrong between hosts, and for chains longer than this machine can boot hosts for.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

from gevent import subprocess
from gevent.lock import RLock

import steelyard_host
from steelyard_host.wire.codec import to_json
from steelyard_host.wire.relay import FRAME, ORDER

Event = TypeVar("Event")
PACKAGES = Path(str(steelyard_host.__file__)).parent.parent


class LocalRelay:
    """The helper on `root`, talked with through pipes, as `HelperStream` does through SSH."""

    def __init__(self, root: Path, project: str, version: str) -> None:
        self.root, self.sent, self._whole = root, 0, RLock()
        argv = [sys.executable, "-m", "steelyard_host", "store-relay", str(root), project, version]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            argv, stdin=pipe, stdout=pipe, stderr=pipe, cwd=PACKAGES, start_new_session=True
        )

    def send_command(self, command: NamedTuple) -> None:
        body = json.dumps(to_json(command)).encode()
        self._write(FRAME.pack(ORDER, len(body)) + body)

    def chunk(self, number: int, data: bytes) -> None:
        self._write(FRAME.pack(number, len(data)) + data)
        self.sent += len(data)

    def _write(self, data: bytes) -> None:
        with self._whole:
            self.process.stdin.write(data)
            self.process.stdin.flush()

    def events(self, read: Callable[[object], Event]) -> Iterator[Event]:
        for line in self.process.stdout:
            yield read(json.loads(line))
        errors = self.process.stderr.read().decode().strip()
        if self.process.wait() != 0 and errors:
            yield read({"error": errors.splitlines()[-1]})

    def kill(self) -> None:
        """End it as if the machine lost its power, but for the page cache."""
        os.killpg(self.process.pid, signal.SIGKILL)

    def close(self) -> None:
        try:
            self.process.stdin.close()
        except OSError:
            pass
        self.process.wait()
