"""Every long command, in each of its phases, stopped by each signal: it begins nothing further, says what is where as
hosts have it, and the call that it prints brings it to its end. Clients of the alias notice nothing.

A slice of the rows that is another each day; all of them with STEELYARD_HANDS=all.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from support.hands_site import HandsSite, count
from support.lab_site import STEELYARD, first_process, steelyard
from support.stop_at import Stop, Stopped, stopped_at

from steelyard.errors import Exit
from steelyard.interrupts.signals import SAME_S

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
PAIR = ("gpu-1", "gpu-2")
YES = {"[y/N] ": "y\n"}
LOGGED_IN = "ss -Htn state established '( sport = :22 )' | grep -q ."  # somebody is
SWITCHING, ON_TRIAL = 'grep -q \'"state": "{}"\' /var/lib/steelyard/switches/pair.json', "serving"


class Row(NamedTuple):
    """A command that is stopped: where its output has `seen`, or where `host` answers `until` with 0.

    `moves`: the versions that the alias goes from and to; None where the command only looks. `left`: what hosts serve
    when it is over, `answers` at a terminal.
    """

    words: str
    phase: str
    signal: str
    seen: str = ""
    host: str = ""
    until: str = ""
    moves: tuple[str, str] | None = None
    left: tuple[str, str] | None = None
    terminal: bool = False
    answers: dict[str, str] = {}
    held: bool = False
    again: float | None = None

    @property
    def name(self) -> str:
        """The row as pytest shows it."""
        return f"{self.words.replace(' ', '-')}:{self.phase}:{self.signal}"


def looks() -> Iterator[Row]:
    """Commands that ask hosts, while they do."""
    for words in (
        "plan",
        "drift",
        "status",
        "doctor --hosts",
        "models ls",
        "models fit",
        "models verify gguf/pair",
        "models warm gguf/pair",
        "preflight",
    ):
        for signal in SIGNALS:
            yield Row(words, "connected", signal, host="gpu-2", until=LOGGED_IN)


def moves() -> Iterator[Row]:
    """The two commands that move an alias."""
    for words, way in (("rollout pair v2", ("v1", "v2")), ("rollback pair", ("v2", "v1"))):
        old, new = way
        tried = f"gpu-1: {new} by swap"
        serving = SWITCHING.format(ON_TRIAL)
        for signal in SIGNALS:
            at = {"signal": signal, "moves": way}
            yield Row(words, "asking", seen="[y/N] ", left=(old, old), terminal=True, **at)
            yield Row(f"{words} --yes", "switch", seen=tried, left=(old, old), **at)
            yield Row(f"{words} --yes --watch 10", "watch", host="gpu-1", until=serving, left=(old, old), **at)
            yield Row(f"{words} --yes", "wave 2", seen=f"gpu-2: {new} by swap", left=(new, old), **at)
        whole = f"{words} --yes --waves 2 --watch 10"
        yield Row(whole, "old version", "SIGTERM", seen="looking at the old version", moves=way, left=(old, old))
        held = f"{words} --yes --watch 10 --on-interrupt hold"
        for signal in SIGNALS:
            yield Row(held, "held", signal, host="gpu-1", until=serving, moves=way, left=(new, old), held=True)
    asked = {**YES, "[U/h]": "h\n"}
    at_terminal = {"host": "gpu-1", "until": SWITCHING.format(ON_TRIAL), "moves": ("v1", "v2"), "terminal": True}
    watched = "rollout pair v2 --watch 10"
    yield Row(watched, "asked to hold", "SIGINT", left=("v2", "v1"), answers=asked, held=True, **at_terminal)
    yield Row(watched, "asked to undo", "SIGINT", left=("v1", "v1"), answers={**YES, "[U/h]": "\n"}, **at_terminal)
    yield Row(watched, "hung up", "SIGHUP", left=("v1", "v1"), answers=YES, **at_terminal)


def changes() -> Iterator[Row]:
    """Apply, and what brings versions to hosts."""
    first = "gpu-1: vllm | Write the timer of the watch"
    for signal in SIGNALS:
        yield Row("apply --yes --serial 1 -l gpu --deploy serve", "looking", signal, host="gpu-2", until=LOGGED_IN)
        yield Row("apply --yes --serial 1 -l gpu --deploy serve", "wave 1", signal, seen=first)
        yield Row("apply -l gpu --deploy serve", "asking", signal, seen="[y/N] ", terminal=True)
        yield Row("models push gguf/pair", "sending", signal, host="gpu-2", until="pgrep -f '[s]tore-relay' >/dev/null")


ROWS = [*looks(), *moves(), *changes()]


def chosen() -> list[Row]:
    """All, or of each kind those whose turn it is today."""
    if os.environ.get("STEELYARD_HANDS") == "all":
        return ROWS
    day, picked = int(time.time() // 86400), []
    for rows, many in ((list(looks()), 2), (list(moves()), 1), (list(changes()), 1)):
        picked += [rows[(day * many + turn) % len(rows)] for turn in range(many)]
    return picked


def test_there_are_rows_enough() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS) >= 60
    assert {row.signal for row in ROWS} == {*SIGNALS}


@pytest.mark.parametrize("row", chosen(), ids=lambda row: row.name)
def test_a_command_that_is_stopped_begins_nothing_and_goes_on_when_told(hands: HandsSite, row: Row) -> None:
    if row.moves is not None:
        stop_a_move(hands, row)
    elif row.words.startswith("apply"):
        stop_an_apply(hands, row)
    elif row.words.startswith("models push"):
        stop_a_push(hands, row)
    else:
        told = stopped(hands, row)
        resumed(hands, row, told, {0, 2, 3})


def stopped(hands: HandsSite, row: Row) -> Stopped:
    """The command, stopped where the row says; its exit code is its own, and no traceback is shown."""
    words = [STEELYARD, *row.words.split(), "-i", str(hands.inventory)]
    until = None
    if row.until:
        until = ["nsenter", "-t", first_process(hands, row.host), "-a", "sh", "-c", row.until]
    told = stopped_at(Stop(words, row.signal, row.seen, until, row.terminal, row.answers, row.again))
    assert told.reached, told.said
    count(interrupts=1)
    assert told.exit == Exit.INTERRUPTED, told.said
    assert "Traceback" not in told.said and "KeyboardInterrupt" not in told.said, told.said
    if not (row.terminal and row.signal == "SIGHUP"):  # there nobody can read it
        assert f"stopped by {title(row.signal)}" in told.said, told.said
    return told


def title(signal: str) -> str:
    return {"SIGINT": "Ctrl-C (SIGINT)", "SIGHUP": "SIGHUP (a closed terminal)"}.get(signal, signal)


def resumed(hands: HandsSite, row: Row, told: Stopped, exits: set[int], fallback: str = "") -> None:
    """The call that was printed, run as it stands; where nobody could read it, `fallback`."""
    said = told.said.replace("\r\n", "\n")
    printed = re.findall(r"(?:go on|run it again): `(steelyard [^`]+)`", said) or ([fallback] if fallback else [])
    if not printed and row.terminal and row.signal == "SIGHUP":
        return
    words = shlex.split(printed[-1])[1:]
    done = steelyard(*words, *([] if "--yes" in words or not row.terminal else ["--yes"]))
    if done.returncode not in exits:
        count(unresumable=1)
    assert done.returncode in exits, done.stdout + done.stderr


def states(hands: HandsSite) -> dict[str, dict[str, Any]]:
    """What hosts say of `pair`, without the cost of the next switch."""
    found = {host: hands.helper(host, "switch-state", "/models", "gguf/pair", "pair") for host in PAIR}
    return {host: {key: state[key] for key in ("serves", "committed", "switch")} for host, state in found.items()}


def versions(found: dict[str, dict[str, Any]], key: str) -> tuple[str, ...]:
    return tuple(str(found[host][key]).rsplit("/", 1)[-1] for host in PAIR)


def stop_a_move(hands: HandsSite, row: Row) -> None:
    assert row.moves is not None
    old, new = row.moves
    hands.serve("pair", "gpu-1:gpu-2", 8010, "v2")
    try:
        moved_to(hands, old)
        with hands.load("pair", clients=2) as load:
            told = stopped(hands, row)
            found = states(hands)
            went_on = versions(found, "serves") != row.left
            is_open = {host: found[host]["switch"]["state"] in ("trying", "serving", "undoing") for host in PAIR}
            went_on |= is_open != {"gpu-1": row.held, "gpu-2": False}
            count(went_on=int(went_on))
            assert not went_on, (told.said, found)
            lines = told.said.replace("\r\n", "\n").splitlines()
            for host, serves in zip(PAIR, versions(found, "serves"), strict=True):
                if row.phase != "asking" and not (row.terminal and row.signal == "SIGHUP"):
                    trial = ", and " + new + " is on trial (serving)" if is_open[host] else ", and comes up with"
                    assert any(line.startswith(f"{host}: serves {serves}{trial}") for line in lines), told.said
            if row.held:
                keeps_off(hands)
            first = row.words.split(" --")[0]
            more = " --resume" if row.phase != "asking" else ""
            resumed(hands, row, told, {0}, f"steelyard {first} -i {hands.inventory} --yes{more}")
            assert versions(states(hands), "serves") == versions(states(hands), "committed") == (new, new)
        count(failed_requests=load.counts.failed)
        assert (load.counts.failed, load.counts.mixed) == (0, 0), load.figures()
        assert load.counts.requests > 3
    finally:
        moved_to(hands, "v1")
        hands.serve("pair", "gpu-1:gpu-2", 8010)


def keeps_off(hands: HandsSite) -> None:
    """Drift says that a rollout is in progress, and whose; an apply leaves its service alone."""
    before = states(hands)
    answer = hands.json("drift", "-l", "gpu-1", "--deploy", "serve")
    [finding] = [entry for entry in answer["findings"] if entry["code"] == "vllm.rollout-in-progress"]
    assert re.search(r"is on trial \(serving\) since 20\S+ by \S+ from \S+, before it v", finding["live"])
    applied = steelyard("apply", "-i", str(hands.inventory), "-l", "gpu-1", "--deploy", "serve", "--yes")
    assert applied.returncode == 0, applied.stdout + applied.stderr
    assert "a rollout of pair is in progress" in applied.stderr
    assert states(hands) == before


def moved_to(hands: HandsSite, version: str) -> None:
    found = states(hands)
    if versions(found, "serves") != (version, version) or versions(found, "committed") != (version, version):
        done = steelyard("rollback", "pair", version, "-i", str(hands.inventory), "--yes", "--waves", "2")
        assert done.returncode == 0, done.stdout + done.stderr


def stop_an_apply(hands: HandsSite, row: Row) -> None:
    timer = "/etc/systemd/system/steelyard-watch@.timer"
    gpus = ("gpu-1", "gpu-2", "gpu-3")
    for host in gpus:
        hands.sh(host, f"echo '# not ours' >>{timer}")
    told = stopped(hands, row)
    left = [host for host in gpus if "not ours" in hands.sh(host, f"cat {timer}")]
    went_on = left != (["gpu-2", "gpu-3"] if row.phase == "wave 1" else [*gpus])
    count(went_on=int(went_on))
    assert not went_on, told.said
    if row.phase == "wave 1":
        assert "not through: 3 hosts (gpu-1, gpu-2, gpu-3)" in told.said
        assert "--resume" in told.said and "--serial 1" in told.said
    resumed(hands, row, told, {0}, f"steelyard apply -i {hands.inventory} --deploy serve -l gpu --yes")
    assert [host for host in gpus if "not ours" in hands.sh(host, f"cat {timer}")] == []


def stop_a_push(hands: HandsSite, row: Row) -> None:
    """A version that no host has, and nothing serves."""
    folder = "/models/gguf/pair/v2"
    for host in PAIR:
        hands.sh(host, f"chattr -R -i {folder} 2>/dev/null; rm -rf {folder}")
    hands.serve("pair", "gpu-1:gpu-2", 8010, "v2")
    try:
        told = stopped(hands, row)
        assert "no version is half published" in told.said
        resumed(hands, row, told, {0})
        assert all(hands.sh(host, f"ls {folder}") for host in PAIR)
    finally:
        hands.serve("pair", "gpu-1:gpu-2", 8010)


def test_a_second_signal_leaves_and_the_host_decides(hands: HandsSite) -> None:
    """Nobody waits any more: the trial stays with its host, is named, and the next run takes it up."""
    row = Row(
        "rollout pair v2 --yes --watch 10 --undo-after 120",
        "twice",
        "SIGTERM",
        seen="gpu-1: v2 by swap",
        moves=("v1", "v2"),
        again=SAME_S + 0.3,
    )
    hands.serve("pair", "gpu-1:gpu-2", 8010, "v2")
    try:
        moved_to(hands, "v1")
        with hands.load("pair", clients=2) as load:
            words = [STEELYARD, *row.words.split(), "-i", str(hands.inventory)]
            told = stopped_at(Stop(words, row.signal, row.seen, again=row.again))
            count(interrupts=1)
            assert told.exit == Exit.INTERRUPTED, told.said
            assert "SIGTERM again: left at once" in told.said
            assert "gpu-1: v2 is on trial; the host goes back by itself" in told.said
            assert states(hands)["gpu-1"]["switch"]["state"] in ("trying", "serving")
            resumed(hands, row._replace(terminal=True), told, {0})
            assert versions(states(hands), "committed") == ("v2", "v2")
        count(failed_requests=load.counts.failed)
        assert (load.counts.failed, load.counts.mixed) == (0, 0), load.figures()
    finally:
        moved_to(hands, "v1")
        hands.serve("pair", "gpu-1:gpu-2", 8010)


def test_a_trial_of_another_version_is_named_with_what_can_be_done(hands: HandsSite) -> None:
    """A rollback while a version is on trial undoes it; a third version is refused, and the state is the host's."""
    hands.serve("pair", "gpu-1:gpu-2", 8010, "v2")
    row = Row(
        "rollout pair v2 --yes --watch 10 --on-interrupt hold",
        "held",
        "SIGTERM",
        host="gpu-1",
        until=SWITCHING.format(ON_TRIAL),
    )
    try:
        moved_to(hands, "v1")
        stopped(hands, row)
        refused = steelyard("rollback", "pair", "v3", "-i", str(hands.inventory), "--yes", "--json")
        error = json.loads(refused.stdout)
        assert (refused.returncode, error["error"], error["state"]) == (1, "TrialOpen", "serving")
        assert "`steelyard rollback" in error["fix"]
        back = steelyard("rollback", "pair", "-i", str(hands.inventory), "--yes")
        assert back.returncode == 0, back.stdout + back.stderr
        found = states(hands)
        assert (versions(found, "serves"), found["gpu-1"]["switch"]["state"]) == (("v1", "v1"), "undone")
        nothing = steelyard("rollout", "pair", "--resume", "-i", str(hands.inventory), "--yes")
        assert "gpu-1 serves v1, gpu-2 serves v1" in nothing.stderr
    finally:
        moved_to(hands, "v1")
        hands.serve("pair", "gpu-1:gpu-2", 8010)
