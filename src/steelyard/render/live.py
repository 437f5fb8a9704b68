"""Shows what goes on while it goes on: on a terminal in place, several times a second; elsewhere as a line for each
host that is done, and one now and then for what takes long.

A second thread asks `Activity` and prints; in commands that talk to hosts it is one of gevent's, so it runs whenever
those are waited for.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from steelyard.events import Event, HostEnded
from steelyard.interrupts.signals import discard

from .activity import Activity

if TYPE_CHECKING:
    from rich.live import Live as RichLive
    from rich.spinner import Spinner

A_SECOND = 4  # pictures
DUMB = ("dumb", "unknown")  # terminals that take nothing back
LOOK_S = 1.0  # how often it is seen whether a line is due
_moving: set[Live] = set()  # those of this process that show something


def still() -> None:
    """Let nothing move any more, nor begin to: the command has ended, in whatever way. The cursor is there again."""
    for live in list(_moving):
        live.over = True
        live.stop()


class Live:
    """`take` events. `above` prints a line that stays; `stop` before anything else is printed. `clean` makes a part of
    a line of what hosts say, with no secret in it; `clock` tells monotonic seconds.
    """

    def __init__(
        self, terminal: bool, no_color: bool, clean: Callable[[str], str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.terminal = terminal and os.environ.get("TERM") not in DUMB
        self.no_color, self.clock = no_color, clock
        self._activity, self._lock = Activity(clean), threading.RLock()
        self._held = 0
        self._shown: RichLive | None = None
        self._spinner: Spinner | None = None
        self._ended: threading.Event | None = None
        self.over = False  # set from outside: what still runs is no longer told of

    def take(self, event: Event) -> None:
        with self._lock:
            at = self.clock()
            self._activity.take(event, at)
            busy = self._activity.busy
            if isinstance(event, HostEnded) and not self.terminal and not self.over:
                _say(self._activity.ended(event, at))
        if busy and not self.over and not self._held:
            self._start()

    @contextmanager
    def held(self) -> Iterator[None]:
        """A block in which nothing moves, whatever happens meanwhile: a person is asked, or reads."""
        self.stop()
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1

    def above(self, line: str) -> bool:
        """Whether it was printed: where nothing moves, nobody has to make room for it."""
        if self._shown is None:
            return False
        from rich.text import Text

        self._shown.console.print(Text(line), soft_wrap=True)
        return True

    def stop(self) -> None:
        _moving.discard(self)
        if self._shown is not None:
            self._shown.stop()
            self._shown = None
        with self._lock:  # no line comes after this
            if self._ended is not None:
                self._ended.set()
                self._ended = None

    def _start(self) -> None:
        _moving.add(self)
        if self.terminal and self._shown is None:
            from rich.console import Console
            from rich.live import Live as RichLive
            from rich.spinner import Spinner

            self._spinner = Spinner("dots")
            console = Console(stderr=True, no_color=self.no_color, highlight=False)
            self._shown = RichLive(
                console=console,
                get_renderable=self._picture,
                refresh_per_second=A_SECOND,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._shown.start()
        elif not self.terminal and self._ended is None:
            self._ended = threading.Event()
            threading.Thread(target=self._tell, args=(self._ended,), daemon=True).start()

    def _picture(self) -> Spinner:
        from rich.text import Text

        assert self._spinner is not None
        width, height = self._shown.console.size if self._shown is not None else (80, 24)
        with self._lock:  # width: without the spinner; height: what has scrolled away cannot be taken back
            lines = self._activity.lines(self.clock(), width - 4, max(1, height - 1))
        first, *others = lines or [""]
        self._spinner.update(
            text=Text("\n".join([first, *(f"  {line}" for line in others)]), no_wrap=True, overflow="crop")
        )
        return self._spinner

    def _tell(self, ended: threading.Event) -> None:
        while not ended.wait(LOOK_S):
            with self._lock:
                lines = self._activity.due(self.clock())
                if not ended.is_set():
                    _say(lines)


def _say(lines: list[str]) -> None:
    try:
        for line in lines:
            print(line, file=sys.stderr, flush=True)
    except OSError:  # who read it has gone; the work has not
        discard(sys.stderr.fileno())
