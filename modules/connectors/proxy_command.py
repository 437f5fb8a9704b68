"""A ProxyCommand as ssh runs it: by the user's shell, over a pair of sockets, gone with its connection.

paramiko's own splits the words without a shell, and when the program ends it reads nothing for ever.
"""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile


class ProxiedSocket:
    """The socket that paramiko talks to: one end of a pair whose other end is the program's input and output."""

    def __init__(self, command: str) -> None:
        ours, theirs = socket.socketpair()
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  open as long as the program may say something
        shell = os.environ.get("SHELL") or "/bin/sh"
        self._process = subprocess.Popen(
            [shell, "-c", f"exec {command}"],
            stdin=theirs.fileno(),
            stdout=theirs.fileno(),
            stderr=self._said,
            start_new_session=True,
        )
        theirs.close()
        self._socket = ours
        self.send, self.recv, self.settimeout = ours.send, ours.recv, ours.settimeout

    def last_words(self) -> str:
        """The last line that the program wrote on standard error; empty where it wrote none."""
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""

    def close(self) -> None:
        """End the program; its standard input ends with it."""
        self._socket.close()
        if self._process.poll() is None:
            self._process.terminate()
        self._process.wait()

    @property
    def closed(self) -> bool:
        return self._socket.fileno() < 0

    _closed = closed  # under which paramiko asks for it
