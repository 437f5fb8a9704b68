"""Facts and commands through one shell: framed so that outputs, statuses and errors are told apart, whatever they
contain.
"""

from __future__ import annotations

import shlex
import signal
import subprocess
import time
from pathlib import Path

import pytest

from steelyard.engine.prefetch import PrefetchList
from steelyard.modules.connectors import frames
from steelyard.modules.connectors.frames import (
    CommandAnswer,
    OutputTail,
    batch,
    opening,
    order,
    read_answers,
    split_login,
)

MARK = "steelyard-abc"
# the shell of the batch is the parent of the subshell that this fact runs in
KILL_THE_BATCH = "sh -c 'kill -9 $(cut -d\" \" -f4 /proc/$PPID/stat)'"


def lines(script: str) -> list[bytes]:
    done = subprocess.run(["sh"], input=(opening(MARK) + script).encode(), capture_output=True)
    assert not Path(f"/tmp/.{MARK}").exists(), "the shell left its folder behind"
    return done.stdout.splitlines()


def asked(*commands: str) -> list[CommandAnswer]:
    return read_answers(iter(lines(batch([split_login(text)[1] for text in commands], MARK))), MARK, len(commands))


def ordered(command: str, stdin: str | None = None, seconds: int = 60, keep: int | None = None) -> CommandAnswer:
    return read_answers(iter(lines(order(shlex.quote(command), MARK, stdin, seconds))), MARK, 1, keep)[0]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("sh -c true", ("", "true")),
        ("sudo -H -n sh -c 'a b'", ("sudo -H -n ", "'a b'")),
        ("sudo -H -n -u ops sh -c 'a b'", ("sudo -H -n -u ops ", "'a b'")),
        ("sudo -H -n bash -c 'a b'", ("", "'sudo -H -n bash -c '\"'\"'a b'\"'\"''")),
        ("su ops -c 'a b'", ("", "'su ops -c '\"'\"'a b'\"'\"''")),
    ],
)
def test_a_command_is_split_into_the_login_and_what_its_shell_evaluates(text: str, parts: tuple[str, str]) -> None:
    assert split_login(text) == parts


def test_a_fact_that_exits_or_is_not_even_shell_hurts_no_other() -> None:
    found = asked("sh -c 'echo fine'", "sh -c 'echo gone; exit 3'", "sh -c 'if then ((('", "sh -c 'echo next'")
    assert [answer.status for answer in found] == [0, 3, 2, 0]
    assert found[1].stdout == ["gone"]
    assert found[3] == CommandAnswer(0, ["next"], [])


def test_a_fact_that_kills_its_shell_ends_the_stream() -> None:
    with pytest.raises(EOFError):
        asked("sh -c 'echo fine'", f"sh -c {shlex.quote(KILL_THE_BATCH)}")


def test_statuses_and_errors_are_told_apart() -> None:
    found = asked("sh -c 'echo out; echo err >&2; exit 3'", "sh -c 'printf no-newline'", "sh -c true")
    assert found == [CommandAnswer(3, ["out"], ["err"]), CommandAnswer(0, ["no-newline"], []), CommandAnswer(0, [], [])]


def test_standard_input_of_a_fact_is_empty_so_it_cannot_eat_the_next() -> None:
    assert asked("sh -c cat", "sh -c 'echo next'") == [CommandAnswer(0, [], []), CommandAnswer(0, ["next"], [])]


def test_empty_lines_and_odd_bytes_pass() -> None:
    found = asked("sh -c 'echo; echo a; echo; echo'", r"sh -c 'printf \\377\\0\\n'")
    assert found[0].stdout == ["", "a", "", ""]
    assert found[1].stdout == ["\ufffd\0"]


def test_large_output_passes_whole() -> None:
    assert len(asked("sh -c 'seq 1 200000'")[0].stdout) == 200000


def test_an_order_gets_its_standard_input_whole_and_its_own_umask() -> None:
    text = "a $HOME `date` \\ ' \"\n\nlast line without a newline"
    assert ordered("cat; umask", text).stdout == [*text.split("\n"), "0022"]
    assert ordered("cat").stdout == []


def test_an_order_that_does_not_end_is_ended_by_the_host() -> None:
    assert ordered("echo begun; sleep 60", seconds=1) == CommandAnswer(124, ["begun"], [])


def test_of_a_talkative_order_the_last_words_are_kept() -> None:
    found = ordered("seq 1 300000; echo why >&2; exit 9", keep=1000)
    assert (found.status, found.stdout[-1], found.stderr) == (9, "300000", ["why"])
    assert sum(map(len, found.stdout)) <= 1000
    kept = OutputTail(10)
    kept.add(b"x" * 50)
    assert kept.text() == ["x" * 10]


def test_progress_names_the_question_that_is_being_answered() -> None:
    script = opening(MARK) + frames.question("'cat \"$STEELYARD/at\"'", MARK, 7)
    done = subprocess.run(["sh"], input=script.encode(), capture_output=True)
    assert done.stdout.splitlines()[0] == b"7"


def test_prefetch_list_survives_being_torn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    class Host:
        name, data = "h", {"ssh_hostname": "10.0.0.1"}

    class State:
        current_deploy_filename = "site.py"

    first = PrefetchList.of(State, Host)
    assert first.expected == ()
    first.note("a")
    first.note("b")
    first.note("a")
    first.save()
    assert PrefetchList.of(State, Host).expected == ("a", "b")
    assert oct(first.path.stat().st_mode & 0o777) == "0o600"
    first.path.write_text('["a", ')
    assert PrefetchList.of(State, Host).expected == ()


def test_what_follows_a_question_is_known_from_this_runs_plan() -> None:
    listed = PrefetchList.nowhere()
    for text in ("a", "b", "c"):
        listed.note(text)
    assert (listed.after("a"), listed.after("c"), listed.after("z")) == (["b", "c"], [], [])
    listed.save()  # goes nowhere


@pytest.mark.parametrize("ending", ["hang-up", "nobody reads"])
def test_a_shell_whose_controller_is_gone_ends_its_command_and_cleans_up(tmp_path: Path, ending: str) -> None:
    begun, done = tmp_path / "begun", tmp_path / "done"
    script = (
        opening(MARK)
        + order(shlex.quote(f"touch {begun}; sleep 1; touch {done}"), MARK, None, 60)
        + order("true", MARK, None, 60)
    )
    shell = subprocess.Popen(["sh"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert shell.stdin is not None
    assert shell.stdout is not None
    shell.stdin.write(script.encode())
    shell.stdin.flush()
    while not begun.exists():
        assert shell.poll() is None, "it ended before it did anything"
        time.sleep(0.01)
    if ending == "hang-up":
        shell.send_signal(signal.SIGHUP)
    else:
        shell.stdout.close()
    assert shell.wait(20) != 0
    assert done.exists(), "the command that was under way was not waited for"
    assert not Path(f"/tmp/.{MARK}").exists(), "the shell left its folder behind"


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_an_order_that_was_cut_off_is_not_run_at_all(tmp_path: Path, shell: str) -> None:
    """A controller is killed, or a link cut, while the order is on its way: half a file must not take the whole one's
    place.
    """
    made = tmp_path / "made"
    text = order(shlex.quote(f"cat > {made}"), MARK, "first line\nsecond line\n", 60)
    for cut in range(0, len(text) - 1, 3):
        subprocess.run([shell], input=(opening(MARK) + text[:cut]).encode(), capture_output=True)
        assert not made.exists(), f"run after {cut} of {len(text)} bytes: {text[:cut][-40:]!r}"
    subprocess.run([shell], input=(opening(MARK) + text).encode(), capture_output=True)
    assert made.read_text() == "first line\nsecond line\n"
