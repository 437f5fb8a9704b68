"""A terminal as a reader sees it: what stands on the screen after every byte, and what has scrolled away.

It knows the sequences that our commands send, and no other: one that it does not know fails the test.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Callable, Mapping, Sequence

SEQUENCE = re.compile(r"\x1b\[(\??)([\d;]*)([A-Za-z])|\x1b.")


class Screen:
    """`feed` it what came; `lines` stand on it, `gone` have scrolled away."""

    def __init__(self, rows: int, columns: int) -> None:
        self.rows, self.columns = rows, columns
        self.gone: list[str] = []
        self.has_cursor = True
        self._cells = [""] * rows
        self._row = self._column = 0
        self._rest = ""

    @property
    def lines(self) -> list[str]:
        """The lines down to the last one that has something."""
        lines = [line.rstrip() for line in self._cells]
        while lines and not lines[-1]:
            lines.pop()
        return lines

    def feed(self, text: str) -> None:
        text, at = self._rest + text, 0
        self._rest = ""
        while at < len(text):
            if text[at] != "\x1b":
                self._sign(text[at])
                at += 1
                continue
            found = SEQUENCE.match(text, at)
            if found is None:
                self._rest = text[at:]  # the other half is on its way
                return
            self._obey(found[1] or "", found[2] or "", found[3] or found[0])
            at = found.end()

    def _sign(self, sign: str) -> None:
        if sign == "\r":
            self._column = 0
        elif sign == "\n":
            self._down()
        elif sign == "\x07":
            pass
        else:
            if self._column >= self.columns:
                self._column = 0
                self._down()
            line = self._cells[self._row].ljust(self._column)
            self._cells[self._row] = line[: self._column] + sign + line[self._column + 1 :]
            self._column += 1

    def _down(self) -> None:
        if self._row == self.rows - 1:
            self.gone.append(self._cells.pop(0).rstrip())
            self._cells.append("")
        else:
            self._row += 1

    def _obey(self, private: str, given: str, letter: str) -> None:
        count = int(given or 1) if given.isdigit() or not given else 0
        match private, letter:
            case "", "m":
                pass
            case "", "A":
                self._row = max(0, self._row - count)
            case "", "H":
                self._row = self._column = 0
            case "", "K":
                self._cells[self._row] = "" if given == "2" else self._cells[self._row][: self._column]
            case "", "J":
                self._cells[self._row] = "" if given == "2" else self._cells[self._row][: self._column]
                keep = 0 if given == "2" else self._row + 1
                self._cells[keep:] = [""] * (self.rows - keep)
            case "?", "h" | "l":
                assert given in ("25", "2004"), given
                self.has_cursor = letter == "h" if given == "25" else self.has_cursor
            case _:
                raise AssertionError(f"nobody knows {private}{given}{letter}")


class Ran:
    """A command that was run on a terminal: its screen at the end, every picture that was ever on it, its status."""

    def __init__(self, screen: Screen) -> None:
        self.screen, self.pictures, self.status, self.raw = screen, list[list[str]](), -1, ""

    def ever(self, text: str) -> bool:
        """Whether the text was ever on the screen."""
        return any(text in line for picture in self.pictures for line in picture)


def run_on(
    argv: Sequence[str],
    rows: int = 24,
    columns: int = 80,
    environment: Mapping[str, str] | None = None,
    answers: Mapping[str, str] | None = None,
    until: Callable[[Screen], bool] | None = None,
    seconds: float = 60,
) -> Ran:
    """Run a command on a terminal of this size to its end. `answers`: what is typed where the screen shows a text;
    `until`: Ctrl-C is pressed once where it is true of the screen.
    """
    child, terminal = pty.fork()
    if child == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        kept = {name: value for name, value in os.environ.items() if name not in ("LINES", "COLUMNS", "NO_COLOR")}
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.execve(argv[0], list(argv), {**kept, "TERM": "xterm-256color", **(environment or {})})
    done, left = Ran(Screen(rows, columns)), dict(answers or {})
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        if not select.select([terminal], [], [], 1)[0]:
            continue
        try:
            received = os.read(terminal, 65536)
        except OSError:  # the other side is closed
            break
        if not received:
            break
        text = received.decode(errors="replace")
        done.raw += text
        done.screen.feed(text)
        done.pictures.append(done.screen.lines)
        shown = "\n".join(done.screen.lines)
        for question in [question for question in left if question in shown]:
            os.write(terminal, left.pop(question).encode())
        if until is not None and until(done.screen):
            until = None
            os.write(terminal, b"\x03")
    else:
        os.kill(child, signal.SIGKILL)
    done.status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os.close(terminal)
    return done


def program(text: str) -> list[str]:
    """The words that run this text as Python."""
    return [sys.executable, "-c", text]
