"""Hosts of a push that are only processes: the real helper, real TLS over loopback, a folder instead of a machine.

For tests of what goes wrong between hosts, and for chains longer than this machine can boot hosts for.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gevent import subprocess
from gevent.lock import RLock

import steelyard_host
from steelyard_host.relay import FRAME, ORDER

PACKAGES = Path(str(steelyard_host.__file__)).parent.parent


class LocalRelay:
    """The helper on `root`, talked with through pipes, as `Conversation` does through SSH."""

    def __init__(self, root: Path, project: str, version: str) -> None:
        self.root, self.sent, self._whole = root, 0, RLock()
        words = [sys.executable, "-m", "steelyard_host", "store-relay", str(root), project, version]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe, cwd=PACKAGES, start_new_session=True)

    def order(self, what: dict[str, Any]) -> None:
        body = json.dumps(what).encode()
        self._write(FRAME.pack(ORDER, len(body)) + body)

    def chunk(self, number: int, data: bytes) -> None:
        self._write(FRAME.pack(number, len(data)) + data)
        self.sent += len(data)

    def _write(self, data: bytes) -> None:
        with self._whole:
            self.process.stdin.write(data)
            self.process.stdin.flush()

    def told(self) -> Iterator[dict[str, Any]]:
        for line in self.process.stdout:
            yield json.loads(line)
        errors = self.process.stderr.read().decode().strip()
        if self.process.wait() != 0 and errors:
            yield {"error": errors.splitlines()[-1]}

    def kill(self) -> None:
        """As if the machine lost its power, but for the page cache."""
        os.killpg(self.process.pid, signal.SIGKILL)

    def close(self) -> None:
        try:
            self.process.stdin.close()
        except OSError:
            pass
        self.process.wait()
