"""Facts through one shell: framed so that outputs, statuses and errors are told apart, whatever they contain."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from steelyard.engine.prefetch import PrefetchList
from steelyard.modules.connectors.ssh import Answer, frame, opening, read_answers

MARK = "steelyard-abc"


def asked(*commands: str) -> list[Answer]:
    script = opening() + "".join(frame(command, MARK) for command in commands)
    done = subprocess.run(["sh"], input=script.encode(), capture_output=True)
    return list(read_answers(iter(done.stdout.splitlines(keepends=True)), MARK, len(commands)))


def test_a_command_that_exits_the_shell_ends_the_stream() -> None:
    with pytest.raises(EOFError):
        asked("sh -c 'echo fine'", "exit 3")


def test_statuses_and_errors_are_told_apart() -> None:
    found = asked("sh -c 'echo out; echo err >&2; exit 3'", "sh -c 'printf no-newline'", "sh -c true")
    assert found == [Answer(3, ["out"], ["err"]), Answer(0, ["no-newline"], []), Answer(0, [], [])]


def test_standard_input_of_a_fact_is_empty_so_it_cannot_eat_the_next() -> None:
    assert asked("sh -c cat", "sh -c 'echo next'") == [Answer(0, [], []), Answer(0, ["next"], [])]


def test_empty_lines_and_odd_bytes_pass() -> None:
    found = asked("sh -c 'echo; echo a; echo; echo'", r"sh -c 'printf \\377\\n'")
    assert found[0].stdout == ["", "a", "", ""]
    assert found[1].stdout == ["\ufffd"]


def test_large_output_passes_whole() -> None:
    assert len(asked("sh -c 'seq 1 200000'")[0].stdout) == 200000


def test_prefetch_list_survives_being_torn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    class Host:
        name, data = "h", {"ssh_hostname": "10.0.0.1"}

    class State:
        current_deploy_filename = "site.py"

    first = PrefetchList.of(State, Host)
    assert first.wanted == ()
    first.note("a")
    first.note("b")
    first.note("a")
    first.save()
    assert PrefetchList.of(State, Host).wanted == ("a", "b")
    assert oct(first.path.stat().st_mode & 0o777) == "0o600"
    first.path.write_text('["a", ')
    assert PrefetchList.of(State, Host).wanted == ()
