"""Frames by which commands and answers share one shell: a random marker, so that no output can look like one.

Pure text in both directions; `shell.py` sends and receives it. A question is a fact: read-only, several in one batch.
An order changes the host: one at a time, with its own standard input and time limit.
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from steelyard_host.paths import AUDIT_LOG as AUDIT_LOG
from steelyard_host.wire.progress import LISTENS, RS

KEPT_OF_AN_ORDER = 1 << 20  # bytes of output; the last ones, because they hold the reason
MOST = 256 << 20  # bytes of an answer, or of a line: a host is not to fill this machine's memory
PLAIN = re.compile(r"^(?P<login>sudo -H -n (?:-u \S+ )?)?sh -c (?P<inner>.+)$", re.S)


@dataclass(frozen=True)
class CommandAnswer:
    """Exit status and lines of one framed command. `sha256` is that of a question's whole standard output."""

    status: int
    stdout: list[str]
    stderr: list[str]
    sha256: str = field(default="", compare=False, repr=False)


class Word(Enum):
    """A line of the host's that stands for a whole frame, when it was sent several tasks."""

    AS_KNOWN = "="  # an answer is what it was when the task was planned
    TASK_BEGINS = ">"


def split_login(text: str) -> tuple[str, str]:
    """`sudo -H -n sh -c '…'` as the login that a shell is opened with, and what that shell is to evaluate.

    Without sudo the login is empty. A command that goes another way (su, doas, another shell) stays whole.
    """
    match = PLAIN.match(text)
    if match is None:
        return "", shlex.quote(text)
    return match["login"] or "", match["inner"]


def greeting(marker: str) -> str:
    """The line before which nothing of a channel is ours: a login shell and its files may print what they like."""
    return f"printf '\\n{marker}^\\n'; "


def after_greeting(lines: Iterator[bytes], marker: str) -> Iterator[bytes]:
    """The lines after the greeting; none where it never came."""
    for line in lines:
        if line == f"{marker}^".encode():
            break
    yield from lines


def opening(marker: str) -> str:
    """First line of a shell: a private folder for error output and progress, gone when the shell ends.

    What runs in it may tell how far it is: see `steelyard_host.wire.progress`. However it ends: a controller that is
    gone is a signal (writing to nobody, or the server's hang-up), and a signal
    alone would end the shell without its EXIT trap. What runs at that moment is waited for.
    """
    return (
        f'STEELYARD="${{TMPDIR:-/tmp}}/.{marker}"; mkdir -m 700 "$STEELYARD" || exit 1; '
        f"export {LISTENS}=1; trap 'rm -rf \"$STEELYARD\"' EXIT; trap 'exit 129' HUP INT TERM PIPE\n"
    )


def progress(marker: str) -> str:
    """Return the script that asks, in another shell, which question of a batch is being answered."""
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

    `audit` is a JSON object without its closing brace: the host appends it to its log with the time and the exit
    status.
    """
    run = _limited(command, marker, stdin, seconds)
    return f"{_group(run, marker, audit)}{over(marker)}}}\n"


def _limited(command: str, marker: str, stdin: str | None, seconds: int) -> str:
    limited = f'timeout -k 10 {seconds} sh -c {command} 2>"$STEELYARD/err"'
    if stdin is None:
        return f"{limited} </dev/null\n"
    lines = stdin if stdin.endswith("\n") else stdin + "\n"
    return f"{limited} <<'{marker}-'\n{lines}{marker}-\n"


def _group(run: str, marker: str, audit: str | None) -> str:
    """Return a command with its frame, as a group without its end: a shell that is cut off in the middle of it, a
    here-document too, runs none of it.
    """
    return f"{{ {run}STEELYARD_S=$?\n{_logged(audit)}{_closing(marker, '$STEELYARD_S')}"


def _logged(audit: str | None) -> str:
    if audit is None:
        return ""
    folder = AUDIT_LOG.rsplit("/", 1)[0]
    form = shlex.quote('%s, "at": "%s", "exit": %d}\\n')
    return (
        f"{{ test -d {folder} || mkdir -p -m 750 {folder}; "
        f'printf {form} {shlex.quote(audit)} "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$STEELYARD_S" '
        f">>{AUDIT_LOG}; }} 2>/dev/null\n"
    )


def _closing(marker: str, status: str = "$?") -> str:
    shown = 'test -s "$STEELYARD/err" && cat "$STEELYARD/err"'
    return f"printf '\\n{marker} %d\\n' {status}; {shown}; printf '\\n{marker}.\\n'\n"


def stop_file(marker: str) -> str:
    """Return the shell word for the file that keeps what was sent ahead from going on."""
    return f'"${{TMPDIR:-/tmp}}/.{marker}/stop"'


def begin_ahead() -> str:
    """First line of what is sent ahead: from the first step that goes otherwise on, none is run."""
    return 'STEELYARD_GO=1; rm -f "$STEELYARD/stop"\n'


def task_ahead(marker: str) -> str:
    """Return what stands before each task: the host goes on unless it was told not to, and says so."""
    begins = f"printf '\\n{marker}{Word.TASK_BEGINS.value}\\n'"
    return f'test -e "$STEELYARD/stop" && STEELYARD_GO=\ntest -z "$STEELYARD_GO" || {begins}\n'


def premise(command: str, marker: str, number: int, known: CommandAnswer) -> str:
    """A question whose answer is known, and has to be that still: else it is told, and nothing further is run."""
    same = f"""test $STEELYARD_S = {known.status} && test "$(sha256sum <"$STEELYARD/out")" = '{known.sha256}  -'"""
    return (
        f'test -z "$STEELYARD_GO" || {{ echo {number} >"$STEELYARD/at"; ( eval {command}\n) >"$STEELYARD/out" '
        f'2>"$STEELYARD/err" </dev/null; STEELYARD_S=$?\n'
        f"if {same}; then printf '\\n{marker}{Word.AS_KNOWN.value}\\n'\n"
        f'else STEELYARD_GO=; cat "$STEELYARD/out"; {_closing(marker, "$STEELYARD_S")}fi\n}}\n'
    )


def order_ahead(command: str, marker: str, stdin: str | None, seconds: int, audit: str | None) -> str:
    """An order, as of `order`, that is run where all before it went as it was to go."""
    group = _group(_limited(command, marker, stdin, seconds), marker, audit)
    return f'test -z "$STEELYARD_GO" || {group}test $STEELYARD_S = 0 || STEELYARD_GO=\n}}\n'


Tell = Callable[[dict[str, Any]], None]


def read_answers(
    lines: Iterator[bytes], marker: str, count: int, keep: int | None = None, tell: Tell | None = None
) -> list[CommandAnswer]:
    """The answers of `count` frames and the line that ends them; of each output the last `keep` bytes.

    `tell` gets what a command says of how far it is; that is no part of its output. Raises EOFError when the stream
    ends early.
    """
    answers: list[CommandAnswer] = []
    while (answer := read_frame(lines, marker, keep, tell)) is not None:
        if isinstance(answer, CommandAnswer):
            answers.append(answer)
    if len(answers) < count:
        raise EOFError("the shell ended")
    return answers


def read_frame(
    lines: Iterator[bytes], marker: str, keep: int | None = None, tell: Tell | None = None
) -> CommandAnswer | Word | None:
    """The next frame; None for the line that ends them. The rest as of `read_answers`."""
    middle, end, last = f"{marker} ".encode(), f"{marker}.".encode(), f"{marker}!".encode()
    short = {f"{marker}{word.value}".encode(): word for word in Word}
    stdout, stderr = OutputTail(keep), OutputTail(keep)
    status: int | None = None
    for raw in lines:
        line = raw[:-1] if raw.endswith(b"\n") else raw
        if line == last:
            return None
        if status is None and line in short:
            return short[line]
        if status is None and line.startswith(middle):
            status = int(line[len(middle) :])
        elif status is not None and line == end:
            return CommandAnswer(status, stdout.text(), stderr.text(), stdout.sha256() if keep is None else "")
        elif tell is not None and line.startswith(RS.encode()) and (said := _said(line)) is not None:
            tell(said)
        else:
            (stdout if status is None else stderr).add(line)
    raise EOFError("the shell ended")


def _said(line: bytes) -> dict[str, Any] | None:
    """Return what a line of progress says; None where it is something else that happens to begin so."""
    try:
        said = json.loads(line[len(RS) :])
    except ValueError:
        return None
    return said if isinstance(said, dict) and isinstance(said.get("what"), str) else None


def too_much() -> OSError:
    """Return what ends the talk with a host that says more than it may."""
    return OSError(f"it said more than {MOST >> 20} MiB in one answer")


class OutputTail:
    """Lines of one output, all or the last ones; of all no more than `MOST` bytes, or OSError is raised."""

    def __init__(self, most: int | None) -> None:
        self.most, self.size, self.lines = most, 0, deque[bytes]()

    def sha256(self) -> str:
        """Return that of all that was written: the marker's own newline is no part of it."""
        return hashlib.sha256(b"\n".join(self.lines)).hexdigest()

    def add(self, line: bytes) -> None:
        self.lines.append(line if self.most is None else line[-self.most :])
        self.size += len(self.lines[-1]) + 1
        if self.size > MOST:
            raise too_much()
        while self.most is not None and self.size > self.most and len(self.lines) > 1:
            self.size -= len(self.lines.popleft()) + 1

    def text(self) -> list[str]:
        """Return the lines without the empty one that the marker's own newline makes, and the one between two
        frames.
        """
        lines = list(self.lines)
        if lines and lines[-1] == b"":
            lines.pop()
        return [line.decode(errors="replace") for line in lines]
