"""What a person and a log see while a host is at a long task: a real connector, a real terminal, a real pipe."""

from __future__ import annotations

import os
import pty
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.lab_site import STEELYARD, Site

HOST, GO = "gw-1", "/tmp/steelyard-test-go"
DEPLOY = f"""
from pyinfra.operations import server
said = '{{"what": "downloaded", "done": 1500000000, "total": 4000000000, "unit": "bytes"}}'
tell = "printf '\\\\036%s\\\\n' '" + said + "'"
waits = "timeout 120 sh -c 'while ! test -e {GO}; do sleep 0.2; done'"
server.shell(name="Take long", commands=[tell + "; " + waits], _sudo=True)
"""
LINE = re.compile(r"deploy \| Take long: gw-1, \d+ s; downloaded 1\.5 of 4 GB")


@pytest.fixture
def words(bare: Site, tmp_path: Path) -> Iterator[list[str]]:
    deploy = tmp_path / "mine.py"
    deploy.write_text(DEPLOY)
    bare.sh(HOST, f"rm -f {GO}")
    yield [STEELYARD, "apply", "-i", str(bare.inventory), "--deploy", str(deploy), "-l", HOST, "--yes"]
    bare.sh(HOST, f"rm -f {GO}")


def test_a_log_gets_plain_lines_while_the_task_runs(bare: Site, words: list[str]) -> None:
    """The task ends when such a line has been read, and not before."""
    run = subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
    assert run.stderr is not None
    assert run.stdout is not None
    seen = next((line for line in run.stderr if LINE.match(line)), "")
    bare.sh(HOST, f"touch {GO}")
    rest, result = run.stderr.read(), run.stdout.read()
    assert run.wait() == 0, rest
    assert seen
    assert "\x1b" not in seen + rest
    assert "\x1e" not in rest + result, "what the host tells is no output"


def test_a_terminal_shows_it_in_place(bare: Site, words: list[str]) -> None:
    """Lines are drawn anew, and none of them is left when the result is printed."""
    child, terminal = pty.fork()
    if child == 0:
        os.execve(words[0], words, {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"})
    shown, gone = b"", False
    while True:
        try:
            received = os.read(terminal, 65536)
        except OSError:  # the other side is closed
            break
        if not received:
            break
        shown += received
        if not gone and shown.count(b"downloaded 1.5 of 4 GB") >= 3:
            gone = True
            bare.sh(HOST, f"touch {GO}")
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode(errors="replace"))
    assert LINE.search(text)
    assert "\x1e" not in text
    assert text.splitlines()[-1] == "1 task changed on 1 host of 1"
