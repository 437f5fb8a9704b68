"""One sink for a command's output. Data goes to stdout, all else to stderr; `--json` gives one document and no more.

JSON documents carry `command` and `version`; their shapes are in docs/reference/json.md and a change is a contract.
"""

from __future__ import annotations

import json as jsonlib
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from steelyard.errors import SteelyardError, show
from steelyard.errors.visible import harmless, joined_line, no_commands, no_commands_in_json, one_line
from steelyard.events import (
    Advised,
    ErrorReported,
    Event,
    HostFailed,
    HostsAsked,
    Resuming,
    SecretsKnown,
    Step,
    TaskChanged,
    TaskStarted,
    WaveStarted,
)
from steelyard.interrupts.signals import HANDLER, discard

from .documents import JSON_VERSION, error_document
from .follow_up import carried
from .live import Live
from .redaction import Redactor, in_json
from .text import error_lines, hosts_named
from .width import COLUMNS, NARROWEST, MarkedLine, in_colour

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from steelyard.api.advice import Advice

POLL_S = 0.5  # a person at a prompt waits so long for a signal to be noticed, at most


def print_error(error: SteelyardError, as_json: bool) -> None:
    """Show an error that ends a command, which may have no screen yet."""
    if as_json:
        print(no_commands_in_json(carried(jsonlib.dumps(error_document(error)), written=in_json)))
    print(carried(harmless(show(error))), file=sys.stderr)


class Screen:
    """One mode, chosen once: JSON, live terminal, or plain lines. What a result looks like is said by `show_*`."""

    def __init__(self, *, json: bool = False, verbose: int = 0, quiet: bool = False, no_color: bool = False) -> None:
        self.json, self.verbose, self.quiet, self.no_color = json, verbose, quiet, no_color
        self._secrets = frozenset[str]()
        self.redactor = Redactor()
        self.advice: list[Advice] = []  # of the inventory and the command, beside that of the hosts' roles
        self._progress = None if json or quiet else Live(sys.stderr.isatty(), no_color, self._moving)
        self._failed: list[tuple[SteelyardError, tuple[str, ...]]] = []
        self._live = False  # changes are being made: a failure is told at once, and explained at the end

    def hush(self) -> None:
        """Show the result and nothing else from here on: standard output is another program's."""
        self.quiet = True
        self._progress = None

    # Where things go

    def mask(self, text: str) -> str:
        """The text without a secret that is known by now."""
        return self.redactor.mask(text)

    def said(self, text: str, written: Callable[[str], str] = str) -> str:
        """The text as it leaves: no secret in it, and each command that it names runnable as it stands.

        `written`: how the document that it goes into writes a text; see `carried`.
        """
        masked = self.redactor.mask(text)  # a document has escapes of its own
        safe = harmless(masked) if written is str else no_commands_in_json(masked) if written is in_json else masked
        return carried(safe, written=written)

    def _moving(self, text: str) -> str:
        """The same for what is shown while it goes on, whose lines are joined."""
        return joined_line(self.said(text))

    def clean(self, text: str) -> str:
        """The same for a part of a line: a line feed in it is written as its escape."""
        return one_line(self.said(text))

    @property
    def width(self) -> int:
        """Columns of a line of a result: those of the terminal, and no more than a reader follows."""
        if not sys.stdout.isatty():
            return COLUMNS
        return min(COLUMNS, max(NARROWEST, shutil.get_terminal_size((COLUMNS, 24)).columns))

    def out(self, text: str) -> None:
        """A result on stdout."""
        self._still()
        print(self.said(text))

    def lines(self, lines: Sequence[str]) -> None:
        """Several lines as one output; nothing where there are none."""
        if lines:
            self.out("\n".join(lines))

    def marked(self, lines: Sequence[MarkedLine]) -> None:
        """Lines that are clean already, as one output; on a terminal the word that marks one has a colour."""
        if lines:
            self.shown([self.in_colour(line) for line in lines])

    def in_colour(self, line: MarkedLine) -> str:
        """The line as standard output shows it."""
        coloured = sys.stdout.isatty() and not self.no_color and not os.environ.get("NO_COLOR")
        return no_commands(in_colour(line) if coloured else line.text)

    def note(self, text: str) -> None:
        """A line for people on stderr, above what moves; none with `--quiet` or `--json`."""
        if not self.quiet and not self.json:
            line = self.said(text)
            try:
                if self._progress is None or not self._progress.above(line):
                    print(line, file=sys.stderr)
            except OSError:  # who read it has gone; the work has not
                discard(sys.stderr.fileno())

    def error(self, error: SteelyardError) -> None:
        """An error with its fix on stderr, with `--json` and `--quiet` too."""
        self._still()
        print(self.said(show(error)), file=sys.stderr)

    def document(self, command: str, content: Mapping[str, object]) -> None:
        """The one JSON document of a command on stdout."""
        self._still()
        print(self.said(jsonlib.dumps({"command": command, "version": JSON_VERSION, **content}, indent=1), in_json))

    def confirm(self, question: str) -> bool:
        """True for a yes; anything else, the end of input too, is a no."""
        from select import select

        with self.still():
            print(f"{self.said(question)} [y/N] ", end="", flush=True)
            # a signal that comes between a prompt and the read behind it would be noticed with the next key only
            while sys.stdin.isatty() and not select([sys.stdin], [], [], POLL_S)[0]:
                pass
            return sys.stdin.readline().strip().lower() in ("y", "yes")

    def choose(self, question: str, ways: Sequence[str], default: str, seconds: float) -> str:
        """One of `ways`, by its first letter; the default where nothing else is said in so many seconds.

        Everything else goes on meanwhile: what is held by a heartbeat stays held.
        """
        from select import select

        letters = "/".join(way[0].upper() if way == default else way[0] for way in ways)
        with self.still():
            print(f"{self.said(question)} [{letters}] ", end="", file=sys.stderr, flush=True)
            ready = select([sys.stdin], [], [], seconds)[0]
            said = sys.stdin.readline().strip().lower() if ready else ""
        return next((way for way in ways if said and way.startswith(said[0])), default)

    def tables(self, *tables: Table | None) -> None:
        """Tables with an empty line between them; masked like everything else."""
        self.shown(self.table_lines(*tables))

    def shown(self, lines: Sequence[str]) -> None:
        """Lines that may leave as they are, as one output."""
        if lines:
            self._still()
            print("\n".join(lines))

    def table_lines(self, *tables: Table | None) -> list[str]:
        """The lines of tables, which may leave as they are."""
        from .tables import SafeTable  # loaded by whoever made one

        present = [table for table in tables if table is not None]
        console = self._console()
        shown: list[str] = []
        for number, table in enumerate(present):
            if isinstance(table, SafeTable):
                table.keep_words(console.width)
            with console.capture() as captured:
                console.print(table)
            # a cell that was folded may begin a line anywhere
            lines = (no_commands(line.rstrip()) for line in self.redactor.mask(captured.get()).splitlines())
            shown += [*([""] if number else []), *lines]
        return shown

    def _console(self) -> Console:
        from rich.console import Console

        wide = None if sys.stdout.isatty() else COLUMNS
        # what hosts say is no markup
        return Console(no_color=self.no_color, highlight=False, markup=False, emoji=False, width=wide)

    def still(self) -> AbstractContextManager[None]:
        """A block in which nothing moves: somebody is asked, or reads a picture."""
        return self._progress.held() if self._progress is not None else nullcontext()

    def _still(self) -> None:
        """Whatever is printed next is a result, a question, or an error: nothing moves below it."""
        if self._progress is not None:
            self._progress.stop()

    # Events

    def event(self, event: Event) -> None:
        """Take in what happens during the run: shown now, counted, or kept for the end. Raises Stopped."""
        HANDLER.between_steps()
        if self._progress is not None:
            self._progress.take(event)
        match event:
            case WaveStarted(number, total, hosts):
                self.note(f"wave {number} of {total}: {hosts_named(hosts)}")
            case TaskStarted():
                self._live = True
            case TaskChanged(host, title, subjects):
                self.note(f"{host}: {title}: {', '.join(subjects)}")
            case HostFailed(host, error, words):
                self._failed.append((error, words))
                if self._live:
                    self.note(f"{host}: failed; the reason follows at the end")
            case Step(text):
                self.note(text)
            case SecretsKnown(secrets):
                self._secrets |= secrets
                self.redactor = Redactor(self._secrets)
            case Advised(advice):
                self.advice = list(advice)
            case ErrorReported(error):
                self.error(error)
            case Resuming(hosts):
                self.note(f"resuming on {hosts_named(hosts) if hosts else 'no host: the last apply left none'}")
            case HostsAsked():
                self.failures()
            case _:
                pass  # what goes on, and no more: see `activity`

    def failures(self) -> None:
        """Explain on stderr what went wrong with hosts since the last time, the same with several once."""
        self._still()
        for line in self.reasons():
            print(line, file=sys.stderr)

    def reasons(self) -> list[str]:
        """The lines on what went wrong with hosts since the last time: who asks has to show them."""
        lines = [self.said(line) for line in error_lines(self._failed, bool(self.verbose))]
        self._failed.clear()
        return lines
