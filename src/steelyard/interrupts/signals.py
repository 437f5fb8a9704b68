"""The one handler of SIGINT, SIGTERM and SIGHUP. The first signal stops a command before its next step, a second one
ends it at once.

Python runs a handler between any two instructions of the main thread. In commands that talk to hosts that is whichever
greenlet runs then: the one that draws rich's display, the wait for a host's answer, gevent's hub. An exception raised
there ends a display and not the command. So the handler notes the signal and wakes who waits for it, and `Stopped` is
raised in the command's own greenlet, and only outside of `orderly`: whoever works there asks before each step.

What comes twice without anybody pressing twice is one signal: `timeout` and shells signal the process and then its
group, and a terminal that closes hangs up through the kernel and through the shell.
"""

from __future__ import annotations

import os
import signal
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from steelyard.errors import Exit

if TYPE_CHECKING:
    import gevent.event

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SAME_S = 0.5  # within which another signal is the same one, said twice
SHOW_CURSOR = "\r\x1b[K\x1b[?25h"  # what moved in place had hidden it
TITLES = {signal.SIGINT: "Ctrl-C (SIGINT)", signal.SIGTERM: "SIGTERM", signal.SIGHUP: "SIGHUP (a closed terminal)"}


class Interruption(NamedTuple):
    """The first signal that asked this process to stop. `at`: monotonic seconds."""

    signal: signal.Signals
    at: float

    @property
    def title(self) -> str:
        """The signal as people know it: `Ctrl-C (SIGINT)`."""
        return TITLES[self.signal]

    @property
    def by_hand(self) -> bool:
        """Whether it is the ordinary end of what goes on until a person ends it: a look that is repeated."""
        return self.signal is signal.SIGINT

    @property
    def hung_up(self) -> bool:
        """Whether nobody is there any more who could be asked."""
        return self.signal is signal.SIGHUP


class Stopped(BaseException):
    """A signal asked the command to stop, and it may at once. No Exception: who tolerates failures has no say in it.

    `state` and `then` are sentences for the user, filled by the innermost block that knows: see `stopping`.
    """

    def __init__(self, interruption: Interruption) -> None:
        super().__init__(interruption.title)
        self.interruption = interruption
        self.state = ""
        self.then = ""


class InOrder(NamedTuple):
    """Work that comes to an end by itself. `tell` is called once with the signal; `last_words` are for a second one."""

    tell: Callable[[Interruption], None]
    last_words: Callable[[], Sequence[str]]


class SignalHandler:
    """The signals that came to this process. There is one, `HANDLER`; tests make their own."""

    def __init__(self) -> None:
        self.first: Interruption | None = None
        self._orderly: list[InOrder] = []
        self._came: gevent.event.Event | None = None
        self._watcher: Any = None  # of the hub's loop: kept, or it is collected
        self._terminal: list[Any] | None = None
        self._carried: Callable[[str], str] = str

    def install(self, carried: Callable[[str], str] = str) -> None:
        """Handle the signals that this process does not ignore (nohup and `&` say what it shall ignore).

        `carried`: makes the commands in a sentence runnable as they stand.
        """
        self._carried = carried
        try:
            self._terminal = termios.tcgetattr(0)
        except (termios.error, OSError):
            self._terminal = None
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self.receive)

    def attach_to_hub(self) -> None:
        """Have gevent's hub wake up at a signal at once, and let greenlets wait for one. Once, after gevent's patches.

        Without it a signal that comes just before the hub sleeps is seen when something else wakes it.
        """
        if self._came is not None:
            return
        import gevent
        import gevent.event

        self._came = gevent.event.Event()
        reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        self._watcher = gevent.get_hub().loop.io(reading, 1, ref=False)
        self._watcher.start(_drain, reading)
        if self.first is not None:
            self._came.set()

    def receive(self, number: int, _: FrameType | None = None) -> None:
        """Take a signal. Raises Stopped where the command itself runs and may be left."""
        interruption = Interruption(signal.Signals(number), time.monotonic())
        if interruption.hung_up:
            to_nowhere()
        if self.first is None:
            self.first = interruption
            self._begin(interruption)
        elif not interruption.hung_up and interruption.at - self.first.at > SAME_S:
            self.leave(interruption)

    def _begin(self, first: Interruption) -> None:
        if self._came is not None:
            import gevent

            gevent.get_hub().loop.run_callback(self._wake, first)
            if _in_a_greenlet():
                return
        if not self._orderly:
            raise Stopped(first)

    def _wake(self, first: Interruption) -> None:
        """In the hub: who waits goes on, and the command's own greenlet ends its wait where it may be left."""
        import gevent

        assert self._came is not None
        self._came.set()
        main = gevent.get_hub().parent
        if self._orderly:
            gevent.spawn(self._orderly[-1].tell, first)
        elif main is not None:
            main.throw(Stopped(first))

    def leave(self, last: Interruption) -> NoReturn:
        """End this process now: the terminal as it was, a sentence, and nothing else."""
        lines = [line for work in self._orderly for line in work.last_words()]
        text = "\n".join([f"{last.title} again: left at once", *lines])
        moving = SHOW_CURSOR if os.isatty(2) else ""
        try:
            os.write(2, f"{moving}{self._carried(text)}\n".encode())
        except OSError:
            pass  # nobody reads it
        if self._terminal is not None:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})  # it would stop us where we are in background
            try:
                termios.tcsetattr(0, termios.TCSANOW, self._terminal)
            except (termios.error, OSError):
                pass
        os._exit(Exit.INTERRUPTED)

    def check(self) -> None:
        """Begin no further step where a signal came. Raises Stopped."""
        if self.first is not None:
            raise Stopped(self.first)

    def between_steps(self) -> None:
        """End a thread of a pool between two of its steps: whoever began it would wait for it. Raises Stopped.

        Greenlets that are no threads are ended by who began them.
        """
        if self.first is None or self._orderly:
            return
        thread = threading.current_thread()
        of_a_pool = thread is not threading.main_thread() and not isinstance(thread, threading._DummyThread)
        if of_a_pool or self._came is None:
            raise Stopped(self.first)

    def absorb(self) -> None:
        """Let nothing of the first signal be on its way any more. Who has caught `Stopped` and goes on to an ordinary
        end would be stopped a second time: the handler raises it in the command, and the hub does once more.
        """
        if self._came is None:
            return
        import gevent

        try:
            gevent.sleep(0)
        except Stopped:
            pass

    def wait(self, seconds: float) -> bool:
        """Wait so long, in any greenlet; True at once where a signal came or comes."""
        if self._came is None:
            time.sleep(seconds)
            return self.first is not None
        return bool(self._came.wait(seconds))

    def abandon(self, work: Callable[[], object]) -> bool:
        """Do work that may be left at any moment, in a greenlet of its own; False where a signal ended it. Raises its
        exception.
        """
        import gevent

        if self.first is not None:
            return False
        if self._came is None:
            work()
            return True
        doing = gevent.spawn(_outcome_of, work)
        gevent.wait([doing, self._came], count=1)
        if not doing.ready():
            doing.kill()
            return False
        problem = doing.get()
        if problem is not None:
            raise problem
        return True

    @contextmanager
    def orderly(
        self, tell: Callable[[Interruption], None], last_words: Callable[[], Sequence[str]] = tuple
    ) -> Iterator[None]:
        """A block in which a signal raises nothing: whoever works there looks at `first` before each step.

        Raises Stopped at its beginning, where a signal came before it.
        """
        work = InOrder(tell, last_words)
        self._orderly.append(work)
        try:
            self.check()
            yield
        finally:
            self._orderly.remove(work)

    @contextmanager
    def whole(self, last_words: Callable[[], Sequence[str]] = tuple) -> Iterator[None]:
        """A short step that a signal does not cut in two, and that is taken after one too: a removal.

        Raises Stopped behind it, where the first signal came in it.
        """
        before = self.first
        work = InOrder(lambda _: None, last_words)
        self._orderly.append(work)
        try:
            yield
        finally:
            self._orderly.remove(work)
        if before is None and not self._orderly:
            self.check()


HANDLER = SignalHandler()


@contextmanager
def stopping(state: str, then: str = "") -> Iterator[None]:
    """A block that may be left at any moment. `state`: what is then so, `then`: what the user can do; sentences."""
    try:
        yield
    except Stopped as stopped:
        stopped.state, stopped.then = stopped.state or state, stopped.then or then
        raise


def to_nowhere() -> None:
    """Send what is still printed nowhere, where its terminal is gone: every write would be an error."""
    for number in (1, 2):
        try:
            termios.tcgetattr(number)
        except termios.error as error:
            if error.args[0] == 5:  # EIO, of a terminal that was hung up; a pipe says ENOTTY
                discard(number)
        except OSError:
            continue


def discard(number: int) -> None:
    """Send what is printed to this file descriptor nowhere, from now on."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, number)
    os.close(nowhere)


def _drain(reading: int) -> None:
    try:
        os.read(reading, 512)
    except BlockingIOError:
        pass


def _outcome_of(work: Callable[[], object]) -> Exception | None:
    """The exception of the work as a value: gevent prints one that a greenlet raises."""
    try:
        work()
    except Exception as problem:
        return problem
    return None


def _in_a_greenlet() -> bool:
    """Whether what runs now is not the command itself: the hub, or one of its greenlets."""
    greenlet = sys.modules["greenlet"]
    return bool(greenlet.getcurrent().parent is not None)
