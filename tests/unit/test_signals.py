"""One handler of signals: who is stopped by it, wherever the signal finds the process, and what a second one does."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer

from steelyard.cli.program import COMMANDS, GROUPS, app, register
from steelyard.cli.stopped import ROWS, call_of, interrupted, row_of
from steelyard.errors import Exit
from steelyard.interrupts.signals import SAME_S, Interruption, SignalHandler, Stopped, stopping

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
OURS = """
from steelyard.interrupts.signals import HANDLER, Stopped
HANDLER.install()
{attach}
"""
BEFORE = "Stopped = KeyboardInterrupt\n"  # Python's own handler
PROGRAM = """
import os, signal, sys, threading, time
{patch}
{handler}

def hit():
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.01)

def thread():
    threading.Thread(target=hit).start()

def rich_display():
    from rich.console import Console
    from rich.live import Live
    shown = []
    def picture():
        if threading.current_thread() is not threading.main_thread() and not shown:
            shown.append(1)
            hit()
        return "busy"
    Live(console=Console(file=open(os.devnull, "w"), force_terminal=True), get_renderable=picture,
         redirect_stdout=False, redirect_stderr=False,
         refresh_per_second=50).start()

def greenlet():
    import gevent
    gevent.spawn(hit)

def hub():
    import gevent
    gevent.get_hub().loop.run_callback(os.kill, os.getpid(), signal.SIGINT)

def itself():
    hit()

try:
    {where}()
    for step in range(40):
        time.sleep(0.05)
    print("went on")
except Stopped:
    print("stopped")
sys.stdout.flush()
os._exit(0)
"""
PATCH = "from steelyard.engine import gevent_patch"


def said(where: str, handler: str, patch: str = PATCH) -> str:
    program = PROGRAM.format(where=where, handler=handler, patch=patch)
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout.strip()


@pytest.mark.parametrize("where", ["thread", "rich_display"])
def test_python_s_own_interrupt_ends_a_thread_and_not_the_command(where: str) -> None:
    """The fault that this room is for: under gevent a thread is a greenlet of the main thread."""
    assert said(where, BEFORE) == "went on"


@pytest.mark.parametrize("where", ["thread", "rich_display", "greenlet", "hub", "itself"])
def test_the_command_is_stopped_wherever_the_signal_finds_its_process(where: str) -> None:
    assert said(where, OURS.format(attach="HANDLER.attach_to_hub()")) == "stopped"


@pytest.mark.parametrize("where", ["thread", "rich_display", "itself"])
def test_a_command_without_hosts_is_stopped_too(where: str) -> None:
    assert said(where, OURS.format(attach=""), patch="") == "stopped"


@pytest.mark.parametrize("where", ["thread", "greenlet", "hub", "itself"])
def test_who_goes_on_to_an_ordinary_end_is_stopped_once(where: str) -> None:
    """A look that is repeated until Ctrl-C still closes its connections, which asks the hub."""
    ends = '    HANDLER.absorb()\n    time.sleep(0.01)\n    print("stopped")'
    program = PROGRAM.replace('    print("stopped")', ends).format(
        where=where, handler=OURS.format(attach="HANDLER.attach_to_hub()"), patch=PATCH
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("stopped", "")


ORDERLY = """
import os, signal, sys, time
from steelyard.engine import gevent_patch
from steelyard.interrupts.signals import HANDLER, SAME_S

HANDLER.install()
HANDLER.attach_to_hub()
told = []
with HANDLER.orderly(lambda first: told.append(first.title), lambda: ["gpu-1: v2 is on trial"]):
    for number in {numbers}:
        os.kill(os.getpid(), number)
        time.sleep({pause})
    waited = HANDLER.wait(600)
    left = HANDLER.abandon(lambda: time.sleep(600))
print(told, waited, left, HANDLER.first.signal.name, flush=True)
os._exit(0)
"""


def orderly(numbers: list[int], pause: float) -> subprocess.CompletedProcess[str]:
    program = ORDERLY.format(numbers=[int(number) for number in numbers], pause=pause)
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)


@pytest.mark.parametrize("number", NUMBERS)
def test_work_in_order_is_told_once_and_its_waits_end(number: signal.Signals) -> None:
    done = orderly([number], 0.01)
    assert done.stdout.endswith(f"True False {number.name}\n"), done.stderr
    assert number.name in done.stdout.split("]")[0]


@pytest.mark.parametrize(
    ("numbers", "pause"),
    [
        ([signal.SIGTERM, signal.SIGTERM], 0.0),  # `timeout` signals the process, and then its group
        ([signal.SIGHUP, signal.SIGHUP], SAME_S + 0.2),  # the kernel hangs up, and the shell after it
        ([signal.SIGINT, signal.SIGHUP], SAME_S + 0.2),  # a terminal that is closed does not insist
    ],
)
def test_a_signal_that_is_said_twice_is_one(numbers: list[int], pause: float) -> None:
    assert orderly(numbers, pause).returncode == 0


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_leaves_at_once_and_says_what_stays(second: signal.Signals) -> None:
    done = orderly([signal.SIGINT, second], SAME_S + 0.2)
    assert (done.returncode, done.stdout) == (Exit.INTERRUPTED, "")
    assert "left at once\ngpu-1: v2 is on trial\n" in done.stderr
    assert second.name in done.stderr


def test_what_is_ignored_stays_ignored(tmp_path: Path) -> None:
    """nohup ignores SIGHUP for the program that it starts."""
    program = tmp_path / "program.py"
    program.write_text(
        "import os, signal\nfrom steelyard.interrupts.signals import HANDLER\nHANDLER.install()\n"
        "os.kill(os.getpid(), signal.SIGHUP)\nprint('went on', flush=True)\n"
    )
    done = subprocess.run(["nohup", sys.executable, str(program)], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "went on\n")


HUNG_UP = """
import os, sys, time
from steelyard.interrupts.signals import HANDLER
HANDLER.install()
note = os.open({note!r}, os.O_WRONLY | os.O_CREAT, 0o600)
with HANDLER.orderly(lambda first: None):
    print("ready", flush=True)
    while HANDLER.first is None:
        time.sleep(0.01)
    for stream in (sys.stdout, sys.stderr):
        print("nobody reads this", file=stream, flush=True)
    os.write(note, HANDLER.first.signal.name.encode())
"""


@pytest.mark.usefixtures("closes_at_once")
def test_a_terminal_that_is_closed_breaks_no_output(tmp_path: Path) -> None:
    note = tmp_path / "note"
    child, terminal = pty.fork()
    if child == 0:
        os.execv(sys.executable, [sys.executable, "-c", HUNG_UP.format(note=str(note))])
    seen = b""
    while b"ready" not in seen:
        seen += os.read(terminal, 1024)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert note.read_text() == "SIGHUP"


def test_the_words_of_the_innermost_block_are_said() -> None:
    stopped = Stopped(Interruption(signal.SIGTERM, time.monotonic()))
    with pytest.raises(Stopped) as caught, stopping("outside", "there"), stopping("inside"):
        raise stopped
    error = interrupted(caught.value, ["drift", "-i", "my site"])
    assert (error.where, error.state, error.then) == ("steelyard drift", "inside", "there")


def test_work_in_order_does_not_begin_after_a_signal() -> None:
    handler = SignalHandler()
    with pytest.raises(Stopped):
        handler.receive(signal.SIGTERM)
    with pytest.raises(Stopped), handler.orderly(lambda first: None):
        raise AssertionError("it began")


def test_every_command_says_what_is_so_after_it_was_stopped() -> None:
    register([])
    group = typer.main.get_command(app)
    named: list[str] = []
    for name in (*COMMANDS, *GROUPS):
        pending = [(name, group.commands[name])]  # type: ignore[attr-defined]
        while pending:
            path, found = pending.pop()
            inner = getattr(found, "commands", None)
            if inner is None:
                named.append(path)
            else:
                pending += [(f"{path} {word}", command) for word, command in inner.items()]
    assert sorted({*named} - {*ROWS}) == [], "a new command: a row of cli/stopped.py says how it is left"
    assert sorted({*ROWS} - {*named}) == []


def test_the_call_that_goes_on_is_the_call_that_was_given() -> None:
    words = ["models", "push", "-i", "my site", "llm/tiny"]
    assert row_of(words)[0] == "models push"
    error = interrupted(Stopped(Interruption(signal.SIGINT, 0.0)), words)
    assert error.remedy == f"go on: `{call_of(words)}`"
    assert call_of(words) == "steelyard models push -i 'my site' llm/tiny"
