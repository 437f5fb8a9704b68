"""A host's own part of a rollout, with systemd, engine and front replaced by notes of what they were told."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from steelyard_host.engine import control_api, metrics, probe, trial_record
from steelyard_host.engine import service as engines
from steelyard_host.engine.service import HostService
from steelyard_host.errors import HelperError
from steelyard_host.proxy import front, haproxy
from steelyard_host.rollout import quality_gate, sleep_swap, strategies, switch
from steelyard_host.store import publish
from steelyard_host.supervise import status
from steelyard_host.system import dead_man_timer, systemd
from steelyard_host.wire.rollout import Prompt, Strategy, Trial, TrialRequest, TrialState

V1, V2 = "/m/p/v1", "/m/p/v2"
X = HostService("x", {})


class Told:
    """What the rest of the host was told, in order; `wrong` is what then fails."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.wrong: set[str] = set()

    def note(self, word: str) -> None:
        self.words.append(word)
        if word in self.wrong:
            raise HelperError(f"{word} failed")


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Told:
    told = Told()
    monkeypatch.setattr(trial_record, "RECORDS", tmp_path / "records")
    monkeypatch.setattr(trial_record, "TURNS", tmp_path / "turns")
    monkeypatch.setattr(engines, "TRIAL_UNITS", tmp_path / "run")
    monkeypatch.setattr(engines, "UNITS", tmp_path / "etc")
    monkeypatch.setattr(engines, "SERVICES", tmp_path)
    monkeypatch.setattr(front, "MARKS", tmp_path / "marks")
    monkeypatch.setattr(front, "_set_port", lambda service, verb: told.note(f"port {verb}"))
    monkeypatch.setattr(front, "drained", lambda engine, seconds: None if "drain" in told.wrong else 0.1)
    monkeypatch.setattr(dead_man_timer, "start", lambda service, seconds: told.note("arm"))
    monkeypatch.setattr(dead_man_timer, "stop", lambda service: told.note("disarm"))
    monkeypatch.setattr(systemd, "run", lambda *argv: told.note(" ".join(argv[:2])))
    monkeypatch.setattr(strategies, "bind", lambda service, folder: told.note(f"bind {folder}"))
    monkeypatch.setattr(strategies, "restart", lambda service, ready_s, drain_s: told.note("restart"))
    monkeypatch.setattr(control_api, "reload_weights", lambda service: told.note("reload"))
    for word in ("put_to_sleep", "wake", "release", "give_up"):
        monkeypatch.setattr(sleep_swap, word, lambda service, word=word: told.note(word))
    monkeypatch.setattr(probe, "one_token", lambda path, service: ("token" not in told.wrong, "silent"))
    monkeypatch.setattr(
        quality_gate, "first_wrong", lambda engine, model, prompts: "prompt 1" if "quality" in told.wrong else None
    )
    monkeypatch.setattr(publish, "switch", lambda root, project, version: told.note(f"current {version}"))
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: subprocess.CompletedProcess(a, 0, "", ""))
    drop_in = tmp_path / "etc/steelyard-vllm@x.service.d/50-version.conf"
    drop_in.parent.mkdir(parents=True)
    drop_in.write_text(f"[Service]\nBindReadOnlyPaths={V1}:/run/steelyard/x/model\n")
    (tmp_path / "etc/steelyard-vllm@.service").write_text("[Service]\n")
    return told


REQUEST = TrialRequest("r1", "x", V2, Strategy.SWAP, (), ready_s=9, drain_s=9, undo_s=9)


def begin(strategy: str, **more: Any) -> None:
    request = REQUEST._replace(strategy=Strategy(strategy), **more)
    trial_record.write(Trial.begun(request, before=V1, boot=trial_record.boot_id(), at=0))


def current() -> Trial:
    trial = trial_record.read(X)
    assert trial is not None
    return trial


def test_reload_is_mounted_read_asked_and_let_in(told: Told) -> None:
    begin("reload")
    switch.carry_out(X)
    assert told.words == ["arm", f"bind {V2}", "reload", "port enable", "arm"]
    assert current().state == "serving"
    assert trial_record.committed(X) == V1  # a reboot now comes back with v1


def test_with_prompts_nobody_is_let_in_before_they_are_answered(told: Told) -> None:
    begin("reload", prompts=(Prompt("b", prompt="a"),))
    switch.carry_out(X)
    assert told.words[:3] == ["arm", "port disable", f"bind {V2}"]


def test_swap_restarts_behind_a_closed_port_with_a_trial_in_run(told: Told, tmp_path: Path) -> None:
    begin("swap")
    switch.carry_out(X)
    assert told.words == ["arm", "port disable", "restart", "port enable", "arm"]
    path = tmp_path / "run/steelyard-vllm@x.service.d/60-trial.conf"
    assert f"BindReadOnlyPaths={V2}:/run/steelyard/x/model" in path.read_text()
    switch.confirm(Path("/m"), "p", X, "r1")
    assert (trial_record.committed(X), path.exists(), current().state) == (V2, False, "confirmed")
    assert "current v2" in told.words


@pytest.mark.parametrize("wrong", ["reload", "token", "quality"])
def test_what_fails_in_place_is_read_back_or_started_anew(told: Told, wrong: str) -> None:
    begin("reload")
    told.wrong = {wrong}
    switch.carry_out(X)
    assert current().state == "undone"
    assert ("restart" in told.words) == (wrong != "quality")
    assert told.words[-2:] == ["port enable", "disarm"]
    assert trial_record.committed(X) == V1


def test_a_way_that_fails_has_said_how_long_its_first_half_took(told: Told) -> None:
    begin("reload", prompts=(Prompt("b", prompt="a"),))
    told.wrong = {"token"}
    switch.carry_out(X)
    assert (current().state, current().drained_s) == (TrialState.UNDONE, 0.1)
    assert current().gap_s is not None
    assert current().seconds is None


def test_a_record_of_a_newer_helper_is_refused_and_not_taken_for_none(told: Told) -> None:
    begin("reload")
    path = trial_record.RECORDS / "x.json"
    path.write_text(path.read_text().replace('"trying"', '"paused"'))
    with pytest.raises(HelperError, match="cannot be read: `state`: str 'paused' is none of trying"):
        switch.attempt(REQUEST)


def test_requests_that_do_not_end_keep_the_old_version(told: Told) -> None:
    begin("swap")
    told.wrong = {"drain"}
    switch.carry_out(X)
    assert current().why == "requests were still running after 9 s"


def test_a_port_is_never_left_closed_by_a_start_that_failed(told: Told) -> None:
    begin("swap")
    told.wrong = {"restart"}
    with pytest.raises(HelperError):
        switch.carry_out(X)
    assert told.words.count("restart") == 3  # the trial, and the old version twice
    assert not (front.MARKS / "x").exists()  # its next start lets requests in
    assert current().state == "undoing"  # and the timer tries again


def test_a_trial_that_cannot_be_timed_is_not_left_open(told: Told) -> None:
    begin("reload")
    told.wrong = {"arm"}
    switch.carry_out(X)
    assert (current().state, current().why) == ("undone", "arm failed")  # and the next rollout is not refused


def test_a_reboot_between_the_commit_and_its_record_is_a_confirmation(told: Told) -> None:
    begin("reload")
    path = trial_record.version_drop_in(X)
    path.write_text(path.read_text().replace(V1, V2))
    record = trial_record.RECORDS / "x.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "boot": "another", "state": "serving"}))
    assert current().state == "confirmed"


def test_a_reboot_undoes_what_was_open(told: Told) -> None:
    begin("swap")
    path = trial_record.RECORDS / "x.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "boot": "another"}))
    assert (current().state, current().why) == ("undone", "the host was rebooted")
    with pytest.raises(HelperError, match="not on trial: undone"):
        switch.confirm(Path("/m"), "p", X, "r1")


def test_another_rollout_is_refused_while_one_is_open(told: Told) -> None:
    begin("swap")
    with pytest.raises(HelperError, match="another rollout is at x: r1"):
        switch.attempt(REQUEST._replace(run="r2"))


def test_the_timer_leaves_what_an_apply_has_declared(told: Told) -> None:
    begin("reload")
    switch.carry_out(X)
    path = trial_record.version_drop_in(X)
    path.write_text(path.read_text().replace(V1, V2))
    undone = switch.undo(X, "", "late")
    assert undone is not None
    assert undone.state is TrialState.CONFIRMED
    assert "restart" not in told.words


def test_a_trial_is_timed_before_anything_says_that_it_is_open(
    told: Told, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A kill between any two steps leaves a timer, or nothing."""
    seen: list[str] = []

    def arm(service: str, seconds: float) -> None:
        seen.append("open" if trial_record.read(X) else "nothing is open")

    def run(*argv: str) -> None:
        seen.extend(word for word in argv if word.startswith(("--property=ExecStopPost", "switch-")))
        switch.carry_out(X)

    monkeypatch.setattr(dead_man_timer, "start", arm)
    monkeypatch.setattr(systemd, "run", run)
    monkeypatch.setattr(systemd, "has_ended", lambda unit: True)
    switch.attempt(REQUEST._replace(strategy=Strategy.RELOAD, folder=str(tmp_path)))
    assert seen[0] == "nothing is open"
    assert "steelyard-recover-x.service" in seen[1]
    assert "switch-undo x --why" in seen[1]
    assert "$" not in seen[1], "systemd 252 keeps none of a transient unit over a daemon-reload"
    assert seen[2] == "switch-carry-out"


def test_two_who_undo_the_same_trial_undo_it_once(told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A timer, a recovery and a controller are processes of their own."""
    restarts = tmp_path / "restarts"

    def restart(service: HostService, ready_s: float, drain_s: float) -> None:
        with restarts.open("a") as file:
            file.write("restart\n")
        time.sleep(0.3)

    monkeypatch.setattr(strategies, "restart", restart)
    begin("swap")
    children = []
    for why in ("late", "killed", "not wanted"):
        child = os.fork()
        if not child:
            try:
                switch.undo(X, "", why)
            finally:
                os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    assert current().state is TrialState.UNDONE
    assert restarts.read_text() == "restart\n"


def test_confirming_twice_is_confirming_once(told: Told) -> None:
    begin("reload")
    switch.carry_out(X)
    first = switch.confirm(Path("/m"), "p", X, "r1")
    told.words.clear()
    assert switch.confirm(Path("/m"), "p", X, "r1") == first
    assert told.words == []


def test_counters_of_a_drained_engine_are_looked_at_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter(
        [{"num_requests_running": 1.0}, {"num_requests_running": 0.0}, {"num_requests_waiting": 1.0}, {}, {}]
    )
    monkeypatch.setattr(metrics, "requests", lambda service: next(answers))
    monkeypatch.setattr(haproxy, "stat", lambda path: {})
    assert front.drained(X, 5) is not None
    assert next(answers, None) is None


def test_requests_that_an_engine_has_not_counted_yet_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen with vLLM: between two steps of its core, /metrics says 0 while requests are in its queue."""
    monkeypatch.setattr(metrics, "requests", lambda service: {"num_requests_running": 0.0, "num_requests_waiting": 0.0})
    rows = iter([[0, 9], [3, 9], [3, 9], [0, 9], [0, 9]])
    monkeypatch.setattr(
        haproxy,
        "stat",
        lambda path: {
            f"engine-x/{name}": {"scur": str(count)} for name, count in zip(("x", "x--surge"), next(rows), strict=True)
        },
    )
    assert front.drained(X, 5) is not None
    assert next(rows, None) is None


def test_status_shows_a_trial_that_is_open_and_no_other(told: Told) -> None:
    assert status.open_trial(X) is None
    begin("swap")
    switch.carry_out(X)
    trial = status.open_trial(X)
    assert trial is not None
    assert (trial.folder, trial.state, trial.run, trial.before) == (V2, TrialState.SERVING, "r1", V1)
    assert trial.until is not None and trial.until > trial.at + 1  # its host undoes it then, and not before
    assert status.open_trial(HostService("y", {})) is None
    switch.undo(X, "r1", "why not")
    assert status.open_trial(X) is None


def test_sleep_swap_keeps_the_engine_that_served_until_the_other_is_confirmed(told: Told) -> None:
    begin("sleep-swap")
    switch.carry_out(X)
    assert told.words == ["arm", "port disable", "put_to_sleep", "restart", "port enable", "arm"]
    switch.confirm(Path("/m"), "p", X, "r1")
    assert (trial_record.committed(X), told.words.count("release")) == (V2, 1)


@pytest.mark.parametrize(("wrong", "started"), [("quality", 0), ("wake", 1), ("put_to_sleep", 0)])
def test_it_wakes_where_the_other_is_refused_and_is_started_only_where_it_is_lost(
    told: Told, wrong: str, started: int
) -> None:
    begin("sleep-swap")
    told.wrong = {wrong, "quality"}
    switch.carry_out(X)
    after = told.words[told.words.index("wake") :]
    assert (current().state, after.count("restart"), trial_record.committed(X)) == ("undone", started, V1)
    assert after[-2:] == ["port enable", "disarm"]
