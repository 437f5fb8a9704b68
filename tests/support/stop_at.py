"""Runs a command until it is where it shall be stopped, stops it there, and prints what it said and how it ended.

A program of its own: the tests' process may be patched by gevent, and then neither its terminals close when it says so,
nor do its children get SIGINT as a shell would give it to them. Where the command is, its own output says (`seen`), or
a shell command about its hosts (`until`).
"""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from typing import Any, NamedTuple

PATIENCE_S = 400
KEY = {"SIGINT": b"\x03"}  # at a terminal: what a person presses


class Stop(NamedTuple):
    """How a command is stopped: `signal` by name, `again` so many seconds later once more; `answers` by question."""

    words: list[str]
    signal: str
    seen: str = ""
    until: list[str] | None = None
    terminal: bool = False
    answers: dict[str, str] = {}
    again: float | None = None


class Stopped(NamedTuple):
    """`reached`: it was where it was to be stopped; what it had said by then is `before`. `said`: all of it."""

    exit: int
    reached: bool
    before: str
    said: str


def stopped_at(stop: Stop) -> Stopped:
    """The same, in a process of its own, whatever this one is patched with."""
    done = subprocess.run([sys.executable, __file__], input=json.dumps(stop._asdict()), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return Stopped(**json.loads(done.stdout))


def _start(stop: Stop) -> tuple[int, int]:
    """The child, and what it says. A terminal is its own; else it has a pipe and nothing on standard input."""
    if stop.terminal:
        child, said = pty.fork()
    else:
        said, writing = os.pipe()
        child = os.fork()
    if child:
        if not stop.terminal:
            os.close(writing)
        return child, said
    if not stop.terminal:
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (writing, 1), (writing, 2)):
            os.dup2(source, target)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    return os.execv(stop.words[0], stop.words)


def _give(stop: Stop, child: int, said: int) -> bool:
    """The signal, as it comes; False where nothing can be read any more."""
    if stop.terminal and stop.signal == "SIGHUP":
        os.close(said)
        return False
    if stop.terminal and stop.signal in KEY:
        os.write(said, KEY[stop.signal])
    else:
        os.kill(child, getattr(signal, stop.signal))
    return True


def run(stop: Stop) -> dict[str, Any]:
    child, said = _start(stop)
    heard, before, end = b"", None, time.monotonic() + PATIENCE_S
    answered: set[str] = set()
    second: float | None = None
    while time.monotonic() < end:
        if select.select([said], [], [], 0.1)[0]:
            try:
                part = os.read(said, 65536)
            except OSError:  # Linux' way to say that nobody holds the other side of a terminal
                part = b""
            if not part:
                break
            heard += part
        text = heard.decode(errors="replace")
        for question, answer in stop.answers.items():
            if question not in answered and question in text:
                answered.add(question)
                os.write(said, answer.encode())
        there = stop.seen in text if stop.seen else stop.until is not None and not subprocess.run(stop.until).returncode
        if before is None and there:
            before = text
            if not _give(stop, child, said):
                break
            second = time.monotonic() + stop.again if stop.again is not None else None
        if second is not None and time.monotonic() > second:
            second = None
            _give(stop, child, said)
    else:
        os.kill(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    text = heard.decode(errors="replace")
    return Stopped(code, before is not None, before or "", text)._asdict()


if __name__ == "__main__":
    print(json.dumps(run(Stop(**json.load(sys.stdin)))))
