"""Runs a shell script at a terminal of its own, answers each question with yes, prints what it said, and ends as it
ended.

A program of its own, because the tests' process may be patched by gevent: its `os.close` takes effect when its loop
runs next, so the far side of a terminal that was closed here stays open, and whoever reads the near side waits for
ever.
"""

from __future__ import annotations

import os
import pty
import sys

QUESTION = b"[y/N] "


def main(script: str) -> int:
    """The exit code of the script."""
    child, terminal = pty.fork()
    if child == 0:
        os.execvp("bash", ["bash", "-eu", "-o", "pipefail", "-c", script])
    said = b""
    while part := read(terminal):
        sys.stdout.buffer.write(part)
        said = (said + part)[-len(QUESTION) :]
        if said == QUESTION:
            os.write(terminal, b"y\n")
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux' way to say that nobody holds the other side
        return b""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
