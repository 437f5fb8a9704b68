"""How commands and answers share one shell: framed by a random marker, so that no output can look like a frame.

Pure text in both directions; `shell.py` sends and receives it. A question is a fact: read-only, several in one batch.
An order changes the host: one at a time, with its own standard input and time limit.
"""

from __future__ import annotations

import re
import shlex
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

KEPT_OF_AN_ORDER = 1 << 20  # bytes of output; the last ones, because they hold the reason
AUDIT_LOG = "/var/log/steelyard/audit.log"  # on the host
PLAIN = re.compile(r"^(?P<login>sudo -H -n (?:-u \S+ )?)?sh -c (?P<inner>.+)$", re.S)


@dataclass(frozen=True)
class Answer:
    """Exit status and lines of one framed command."""

    status: int
    stdout: list[str]
    stderr: list[str]


def split_login(text: str) -> tuple[str, str]:
    """`sudo -H -n sh -c '…'` as the login that a shell is opened with, and what that shell is to evaluate.

    Without sudo the login is empty. A command that goes another way (su, doas, another shell) stays whole.
    """
    found = PLAIN.match(text)
    if found is None:
        return "", shlex.quote(text)
    return found["login"] or "", found["inner"]


def opening(marker: str) -> str:
    """First line of a shell: a private folder for error output and progress, gone when the shell ends.

    However it ends: a controller that is gone is a signal (writing to nobody, or the server's hang-up), and a signal
    alone would end the shell without its EXIT trap. What runs at that moment is waited for.
    """
    return (
        f'STEELYARD="${{TMPDIR:-/tmp}}/.{marker}"; mkdir -m 700 "$STEELYARD" || exit 1; '
        "trap 'rm -rf \"$STEELYARD\"' EXIT; trap 'exit 129' HUP INT TERM PIPE\n"
    )


def progress(marker: str) -> str:
    """Asks, in another shell, which question of a batch is being answered."""
    return f'cat "${{TMPDIR:-/tmp}}/.{marker}/at"\n'


def question(command: str, marker: str, number: int = 0) -> str:
    """A fact. In a subshell, so it cannot end the shell; `eval`, so a syntax error is its own."""
    return f'echo {number} >"$STEELYARD/at"; ( eval {command}\n) 2>"$STEELYARD/err" </dev/null; {_closing(marker)}'


def batch(commands: Iterable[str], marker: str) -> str:
    """Questions whose answers come in large pieces instead of one packet a line; the last line says it is over."""
    framed = "".join(question(command, marker, number) for number, command in enumerate(commands))
    return f"{{ {framed}}} | dd ibs=64k obs=64k 2>/dev/null; {over(marker)}"


def over(marker: str) -> str:
    return f"printf '\\n{marker}!\\n'\n"


def order(command: str, marker: str, stdin: str | None, seconds: int, audit: str | None = None) -> str:
    """A command that changes the host. The host itself ends it after `seconds`; its standard input is a here-document.

    `audit` is a JSON object without its closing brace: the host appends it to its log with the time and the exit status.
    """
    limited = f'timeout -k 10 {seconds} sh -c {command} 2>"$STEELYARD/err"'
    if stdin is None:
        run = f"{limited} </dev/null\n"
    else:
        lines = stdin if stdin.endswith("\n") else stdin + "\n"
        run = f"{limited} <<'{marker}-'\n{lines}{marker}-\n"
    # one group: a shell that is cut off in the middle of it, a here-document too, runs none of it
    return f"{{ {run}STEELYARD_S=$?\n{_logged(audit)}{_closing(marker, '$STEELYARD_S')}{over(marker)}}}\n"


def _logged(audit: str | None) -> str:
    if audit is None:
        return ""
    folder = AUDIT_LOG.rsplit("/", 1)[0]
    form = shlex.quote('%s, "at": "%s", "exit": %d}\\n')
    return (
        f"{{ test -d {folder} || mkdir -p -m 750 {folder}; "
        f'printf {form} {shlex.quote(audit)} "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$STEELYARD_S" >>{AUDIT_LOG}; }} 2>/dev/null\n'
    )


def _closing(marker: str, status: str = "$?") -> str:
    shown = 'test -s "$STEELYARD/err" && cat "$STEELYARD/err"'
    return f"printf '\\n{marker} %d\\n' {status}; {shown}; printf '\\n{marker}.\\n'\n"


def read_answers(lines: Iterator[bytes], marker: str, count: int, keep: int | None = None) -> list[Answer]:
    """The answers of `count` frames and the line that ends them; of each output the last `keep` bytes.

    Raises EOFError when the stream ends early.
    """
    middle, end, last = f"{marker} ".encode(), f"{marker}.".encode(), f"{marker}!".encode()
    answers: list[Answer] = []
    stdout, stderr = Kept(keep), Kept(keep)
    status: int | None = None
    for raw in lines:
        line = raw[:-1] if raw.endswith(b"\n") else raw
        if line == last:
            if len(answers) < count:
                raise EOFError("the shell ended")
            return answers
        if status is None and line.startswith(middle):
            status = int(line[len(middle) :])
        elif status is not None and line == end:
            answers.append(Answer(status, stdout.text(), stderr.text()))
            stdout, stderr, status = Kept(keep), Kept(keep), None
        else:
            (stdout if status is None else stderr).add(line)
    raise EOFError("the shell ended")


class Kept:
    """Lines of one output, all or the last ones."""

    def __init__(self, most: int | None) -> None:
        self.most, self.size, self.lines = most, 0, deque[bytes]()

    def add(self, line: bytes) -> None:
        self.lines.append(line if self.most is None else line[-self.most :])
        self.size += len(self.lines[-1]) + 1
        while self.most is not None and self.size > self.most and len(self.lines) > 1:
            self.size -= len(self.lines.popleft()) + 1

    def text(self) -> list[str]:
        """Without the empty line that the marker's own newline makes, and the one between two frames."""
        lines = list(self.lines)
        if lines and lines[-1] == b"":
            lines.pop()
        return [line.decode(errors="replace") for line in lines]
