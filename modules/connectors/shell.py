"""One long-lived shell on one channel, and the way into it: as the login user, through sudo, with sudo's password.

The password goes over the channel's standard input when sudo asks for it by our own prompt, and at most once; it is
never in an argument, an environment or a file. A wrong one is told, not tried again.
"""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable, Iterator

from paramiko.channel import Channel

from . import frames
from .frames import Answer

LET_IN_S = 30  # for sudo to ask and answer


class PasswordWrong(Exception):
    """sudo asked again after it was given the password."""


class Refused(Exception):
    """The shell did not start; its words are the argument."""


class Shell:
    """Opened at the first exchange. Raises EOFError when it ends, TimeoutError when it is silent."""

    def __init__(
        self, session: Callable[[], Channel], login: str, count_trip: Callable[[], None], password: str | None = None
    ) -> None:
        self.login, self.answered, self._count_trip = login, False, count_trip
        self.marker = "steelyard-" + os.urandom(9).hex()
        self._channel: Channel = session()
        self._first = frames.opening(self.marker)
        if login and password is not None:
            enter(self._channel, login, password, "exec sh", count_trip)
        else:
            self._channel.exec_command(f"exec {login}sh")

    def ask(self, commands: list[str], seconds: float) -> list[Answer]:
        """Answers of questions: one round trip, however many."""
        return self._exchange(frames.batch(commands, self.marker), len(commands), seconds)

    def run(self, command: str, stdin: str | None, limit_s: int, audit: str | None = None) -> Answer:
        """Run one order; the host ends it after `limit_s`, and we wait a little longer than that."""
        script = frames.order(command, self.marker, stdin, limit_s, audit)
        return self._exchange(script, 1, limit_s + 30, frames.KEPT_OF_AN_ORDER)[0]

    def close(self) -> None:
        self._channel.close()

    def _exchange(self, script: str, count: int, seconds: float, keep: int | None = None) -> list[Answer]:
        self._count_trip()
        self._channel.settimeout(seconds)
        self._channel.sendall((self._first + script).encode())
        self._first = ""
        lines = lines_of(self._channel, time.monotonic() + seconds, self._heard)
        return frames.read_answers(lines, self.marker, count, keep)

    def _heard(self) -> None:
        self.answered = True

    def words(self) -> str:
        """What it said on standard error when it ended; empty where it said nothing."""
        self._channel.settimeout(2)
        try:
            said = self._channel.recv_stderr(4096).decode(errors="replace").split("\n")
        except OSError:
            return ""
        return next((line.strip() for line in reversed(said) if line.strip()), "")


def enter(channel: Channel, login: str, password: str, program: str, count_trip: Callable[[], None] = lambda: None) -> None:
    """Start `program` as `login` says, giving sudo its password when, and only when, it asks for it by our prompt.

    Raises PasswordWrong, Refused, TimeoutError.
    """
    marker = "steelyard-" + os.urandom(9).hex()
    prompt, started = f"{marker}?".encode(), f"{marker}+".encode()
    asking = login.replace(" -n ", f" -S -p {marker}? ", 1)
    # what sudo starts says so before anything else
    channel.exec_command(f"exec {asking}sh -c {shlex.quote(f'echo {marker}+ >&2; {program}')}")
    said, given = b"", False
    channel.settimeout(LET_IN_S)
    while started not in said:
        received = channel.recv_stderr(4096)
        if not received:
            raise Refused(said.decode(errors="replace").replace(prompt.decode(), "").strip().split("\n")[-1])
        said += received
        if prompt in said and given:
            channel.close()
            raise PasswordWrong
        if prompt in said:
            given, said = True, said.split(prompt, 1)[1]
            count_trip()
            channel.sendall(password.encode() + b"\n")


def lines_of(channel: Channel, end: float, heard: Callable[[], None] = lambda: None) -> Iterator[bytes]:
    """Lines of a channel until `end` (monotonic seconds); a line may be as long as it likes. `heard` is told of bytes."""
    pieces: list[bytes] = []
    while True:
        if time.monotonic() > end:
            raise TimeoutError
        received = channel.recv(1 << 18)
        if not received:
            return
        heard()
        if b"\n" not in received:
            pieces.append(received)
            continue
        first, *whole = received.split(b"\n")
        yield b"".join([*pieces, first])
        yield from whole[:-1]
        pieces = [whole[-1]] if whole[-1] else []
