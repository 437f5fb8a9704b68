"""However a command ends, its terminal is as it was: nothing is left in place, and the cursor is there."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from support.terminal import program as program_words
from support.terminal import run_on

COMMAND = """
import sys
from steelyard.cli import main, program
from steelyard.errors import HostUnreachable
from steelyard.events import RunStarted, TaskStarted
from steelyard.render.screen import Screen

def app(**options):
    screen = Screen({options})
    screen.event(RunStarted(2))
    screen.event(TaskStarted("g1", "Take long"))
    raise {raised}

program.app, program.register, sys.argv = app, lambda words: None, ["steelyard", "apply"]
main.main()
"""
UNREACHABLE = "HostUnreachable(where='g1', why='no route', address='x')"
INTERRUPTED = "__import__('os').kill(__import__('os').getpid(), 2)"
HIDDEN, SHOWN, WIPED = b"\x1b[?25l", b"\x1b[?25h", b"\x1b[1A\x1b[2K"


def on_a_terminal(program: str, rows: int = 24, columns: int = 80) -> bytes:
    return run_on(program_words(program), rows, columns).raw.encode()


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (INTERRUPTED, b"error: steelyard apply: stopped by Ctrl-C"),
        (UNREACHABLE, b"error: g1: "),
        ("ValueError('a bug')", b"Traceback"),
    ],
)
def test_an_error_is_said_where_nothing_moves_and_with_a_cursor(raised: str, said: bytes) -> None:
    seen = on_a_terminal(COMMAND.format(options="", raised=raised))
    assert HIDDEN in seen, "it has shown something"
    before, _, after = seen.partition(said)
    assert (before.count(HIDDEN), before.count(SHOWN)) == (1, 1)
    assert before.endswith(WIPED)
    assert HIDDEN not in after


@pytest.mark.parametrize("options", ["json=True", "quiet=True"])
def test_json_and_quiet_show_nothing_of_what_goes_on(options: str) -> None:
    program = COMMAND.format(options=options, raised=UNREACHABLE)
    assert HIDDEN not in on_a_terminal(program)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "Take long" not in done.stdout + done.stderr


@pytest.mark.parametrize(("rows", "columns"), [(4, 30), (8, 12), (24, 80)])
def test_a_small_terminal_has_no_more_than_it_can_take_back(rows: int, columns: int) -> None:
    """500 hosts are at one task, each with bytes of its own. What scrolls away stays for good."""
    many = (
        "    for name in map(str, range(500)):\n"
        "        screen.event(TaskStarted(name, 'Take long'))\n"
        "        screen.event(BytesMoved(name, 'downloaded', int(name), 10**6))\n"
    )
    program = COMMAND.replace("import RunStarted", "import BytesMoved, RunStarted").replace(
        "    raise", many + "    raise"
    )
    seen = on_a_terminal(program.format(options="", raised=INTERRUPTED), rows, columns).decode()
    pictures = re.split(r"\r\x1b\[2K(?:\x1b\[1A\x1b\[2K)*|\r\n\x1b\[\?25h", seen.partition("error:")[0])
    assert 2 < max(each.count("\n") + 1 for each in pictures) < rows


ENDS = """
import sys, time
from steelyard.api.outcome import HostOutcome
from steelyard.events import HostAt, HostEnded, RunStarted, SecretsKnown
from steelyard.render.live import Live
from steelyard.render.screen import Screen

screen = Screen({options})
screen.event(SecretsKnown(frozenset({{"hunter2-hunter2"}})))
screen.event(RunStarted(3))
for name in ("g1", "g2", "hunter2-hunter2"):
    screen.event(HostAt(name, "looking"))
    screen.event(HostEnded(name, HostOutcome.IN_SYNC))
{then}
"""


def test_a_log_has_a_line_for_each_host_and_no_secret() -> None:
    done = subprocess.run([sys.executable, "-c", ENDS.format(options="", then="")], capture_output=True, text=True)
    assert [line.split(" (")[0] for line in done.stderr.splitlines()] == [
        "g1: in sync",
        "g2: in sync",
        "********: in sync",
    ]
    assert done.stdout == ""


@pytest.mark.parametrize("options", ["json=True", "quiet=True"])
def test_json_and_quiet_have_no_line_of_a_host(options: str) -> None:
    program = ENDS.format(options=options, then="")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout + done.stderr == ""


def test_lines_of_hosts_load_no_rich() -> None:
    program = ENDS.format(options="", then="print('rich' in sys.modules)")
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "False\n"


def test_a_reader_that_has_gone_ends_no_command() -> None:
    """`2>&1 | head -1` has read enough."""
    program = ENDS.format(options="", then="print('went on')")
    shell = '"$0" -c "$1" 2>&1 >/dev/full | true; exit "${PIPESTATUS[0]}"'
    slow = program.replace("for name", "time.sleep(0.5)\nfor name").replace("print('went on')", "sys.exit(7)")
    done = subprocess.run(["bash", "-c", shell, sys.executable, slow], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (7, "")


def test_a_terminal_that_takes_nothing_back_gets_lines() -> None:
    seen = on_a_terminal("import os; os.environ['TERM'] = 'dumb'\n" + ENDS.format(options="", then=""))
    assert b"g2: in sync (2/3" in seen
    assert b"\x1b" not in seen


ASKED = """
import os, signal, threading, time
from steelyard.engine import gevent_patch
from steelyard.events import HostAt, RunStarted
from steelyard.render.screen import Screen
import gevent

screen = Screen()
screen.event(RunStarted(2))
screen.event(HostAt("g1", "looking"))
gevent.sleep(0.3)

def meanwhile():
    for number in range(8):
        gevent.sleep(0.1)
        screen.event(HostAt(f"g{{number % 2}}", "still looking"))

gevent.spawn(meanwhile)
answer = {asked}
print("answered", flush=True)
gevent.sleep(0.5)
screen.out("ends: " + str(answer))
"""


@pytest.mark.parametrize(
    ("asked", "answer"),
    [("screen.choose('Hold?', ['hold', 'undo'], 'undo', 0.5)", "undo"), ("screen.confirm('Go on?')", "True")],
)
def test_nothing_moves_while_somebody_is_asked_whatever_hosts_do_meanwhile(asked: str, answer: str) -> None:
    question = "Hold?" if "choose" in asked else "Go on?"
    done = run_on(program_words(ASKED.format(asked=asked)), answers={} if "choose" in asked else {"[y/N]": "y\n"})
    while_asked = done.raw.partition(question)[2].partition("answered")[0]
    assert "\x1b" not in while_asked
    assert done.ever("still looking"), "it moves again"
    assert done.screen.lines[-1] == f"ends: {answer}"
    assert done.screen.has_cursor
