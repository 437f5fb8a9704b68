"""One long-lived shell on one channel, and the way into it: as the login user, through sudo, su or doas, with a
password.

The password goes over the channel's standard input when sudo asks for it by our own prompt, or su by its own, and at
most once; it is never in an argument, an environment or a file. A wrong one is told, not tried again. What login shells
and their files print before our greeting is passed over.
"""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable, Iterator

from paramiko.channel import Channel

from . import frames
from .ahead import Ahead, Batch
from .become import Become
from .frames import CommandAnswer

PLAIN_SUDO = Become()
LET_IN_S = 30  # for sudo to ask and answer


class PasswordWrong(Exception):
    """sudo asked again after it was given the password, or su refused it."""


class ShellRefused(Exception):
    """The shell did not start; its words are the argument."""


class Shell:
    """Opened at the first exchange. Raises EOFError when it ends, TimeoutError when it is silent."""

    def __init__(
        self,
        session: Callable[[], Channel],
        login: str,
        count_trip: Callable[[], None],
        password: str | None = None,
        become: Become = PLAIN_SUDO,
    ) -> None:
        self.login, self.answered, self._count_trip = login, False, count_trip
        self.marker = "steelyard-" + os.urandom(9).hex()
        self._end = 0.0
        self._channel: Channel = session()
        self._first = frames.greeting(self.marker) + frames.opening(self.marker)
        if login and password is not None:
            enter(self._channel, become, login, password, "exec sh", count_trip)
        else:
            self._channel.exec_command(become.command(login, "sh"))

    def ask(self, commands: list[str], seconds: float) -> list[CommandAnswer]:
        """Answers of questions: one round trip, however many."""
        return self._exchange(frames.batch(commands, self.marker), len(commands), seconds)

    def run(
        self, command: str, stdin: str | None, limit_s: int, audit: str | None = None, tell: frames.Tell | None = None
    ) -> CommandAnswer:
        """Run one order; the host ends it after `limit_s`, and we wait a little longer than that. `tell`: see
        `read_answers`.
        """
        script = frames.order(command, self.marker, stdin, limit_s, audit)
        return self._exchange(script, 1, limit_s + 30, frames.KEPT_OF_AN_ORDER, tell)[0]

    def send_ahead(self, batch: Batch, asked_s: float) -> Ahead:
        """Send steps of several tasks; what comes of them is read from the answer, step by step: one round trip."""
        self._wait(asked_s)
        lines = self._sent(batch.script(self.marker))
        return Ahead(self.marker, batch.steps, lines, self._wait, asked_s)

    def close(self) -> None:
        self._channel.close()

    def _exchange(
        self, script: str, count: int, seconds: float, keep: int | None = None, tell: frames.Tell | None = None
    ) -> list[CommandAnswer]:
        self._wait(seconds)
        return frames.read_answers(self._sent(script), self.marker, count, keep, tell)

    def _wait(self, seconds: float) -> None:
        """So long may the host take from now on."""
        self._channel.settimeout(seconds)
        self._end = time.monotonic() + seconds

    def _sent(self, script: str) -> Iterator[bytes]:
        self._count_trip()
        self._channel.sendall((self._first + script).encode())
        lines = lines_of(self._channel, lambda: self._end, self._heard)
        if self._first:
            lines = frames.after_greeting(lines, self.marker)
        self._first = ""
        return lines

    def _heard(self) -> None:
        self.answered = True

    def words(self) -> str:
        """Return the last line on standard error of a shell that ended; empty where it wrote none."""
        self._channel.settimeout(2)
        try:
            said = self._channel.recv_stderr(4096).decode(errors="replace").split("\n")
        except OSError:
            return ""
        return next((line.strip() for line in reversed(said) if line.strip()), "")


def enter(
    channel: Channel,
    become: Become,
    login: str,
    password: str,
    program: str,
    count_trip: Callable[[], None] = lambda: None,
) -> None:
    """Start `program` as `login` says, giving the password when, and only when, it is asked for.

    Raises PasswordWrong, ShellRefused, TimeoutError.
    """
    marker = "steelyard-" + os.urandom(9).hex()
    prompt, started = f"{marker}?", f"{marker}+".encode()
    # what is started says so before anything else
    starting = f"sh -c {shlex.quote(f'echo {marker}+ >&2; {program}')}"
    channel.exec_command(become.command(login, starting, prompt))
    said, given = b"", False
    channel.settimeout(LET_IN_S)
    while started not in said:
        received = channel.recv_stderr(4096)
        if not received:
            last = said.decode(errors="replace").replace(prompt, "").strip().split("\n")[-1]
            if given and last.startswith("su:"):
                raise PasswordWrong
            raise ShellRefused(last)
        said = (said + received)[-(1 << 16) :]
        if not become.asks(said, prompt):
            continue
        if given:
            channel.close()
            raise PasswordWrong
        given, said = True, b""
        count_trip()
        channel.sendall(password.encode() + b"\n")


def lines_of(channel: Channel, end: Callable[[], float], heard: Callable[[], None] = lambda: None) -> Iterator[bytes]:
    """Lines of a channel until `end` says (monotonic seconds). `heard` is told of bytes.

    Raises TimeoutError, and OSError where a line is longer than an answer may be.
    """
    pieces: list[bytes] = []
    size = 0
    while True:
        if time.monotonic() > end():
            raise TimeoutError
        received = channel.recv(1 << 18)
        if not received:
            return
        heard()
        if b"\n" not in received:
            pieces.append(received)
            size += len(received)
            if size > frames.MOST:
                raise frames.too_much()
            continue
        first, *whole = received.split(b"\n")
        yield b"".join([*pieces, first])
        yield from whole[:-1]
        pieces, size = ([whole[-1]] if whole[-1] else []), len(whole[-1])
