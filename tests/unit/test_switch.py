"""A host's own part of a rollout, with systemd, engine and front replaced by notes of what they were told."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from steelyard.render.tables import serving
from steelyard_host import asleep, control, engines, front, handover, haproxy, quality, ready, status, store, switch, trial
from steelyard_host.store import StoreError

V1, V2 = "/m/p/v1", "/m/p/v2"


class Told:
    """What the rest of the host was told, in order; `wrong` is what then fails."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.wrong: set[str] = set()

    def note(self, word: str) -> None:
        self.words.append(word)
        if word in self.wrong:
            raise StoreError(f"{word} failed")


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Told:
    told = Told()
    for name, folder in (("RECORDS", "records"), ("TRIALS", "run")):
        monkeypatch.setattr(trial, name, tmp_path / folder)
    monkeypatch.setattr(engines, "UNITS", tmp_path / "etc")
    monkeypatch.setattr(front, "MARKS", tmp_path / "marks")
    monkeypatch.setattr(front, "_tell", lambda service, word: told.note(f"port {word}"))
    monkeypatch.setattr(front, "drained", lambda service, seconds: None if "drain" in told.wrong else 0.1)
    monkeypatch.setattr(switch, "_arm", lambda service, seconds: told.note("arm"))
    monkeypatch.setattr(switch, "_disarm", lambda service: told.note("disarm"))
    monkeypatch.setattr(handover, "run", lambda *words: told.note(" ".join(words[:2])))
    monkeypatch.setattr(switch, "_bind", lambda service, folder: told.note(f"bind {folder}"))
    monkeypatch.setattr(switch, "_restart", lambda service, seconds, drain_s: told.note("restart"))
    monkeypatch.setattr(control, "reload_weights", lambda service: told.note("reload"))
    for word in ("lie_down", "wake", "let_go", "give_up"):
        monkeypatch.setattr(asleep, word, lambda service, word=word: told.note(word))
    monkeypatch.setattr(ready, "one_token", lambda path, service: ("token" not in told.wrong, "silent"))
    monkeypatch.setattr(quality, "first_wrong", lambda service, prompts: "prompt 1" if "quality" in told.wrong else None)
    monkeypatch.setattr(store, "switch", lambda root, project, version: told.note(f"current {version}"))
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: subprocess.CompletedProcess(a, 0, "", ""))
    drop_in = tmp_path / "etc/steelyard-vllm@x.service.d/50-version.conf"
    drop_in.parent.mkdir(parents=True)
    drop_in.write_text(f"[Service]\nBindReadOnlyPaths={V1}:/run/steelyard/x/model\n")
    (tmp_path / "etc/steelyard-vllm@.service").write_text("[Service]\n")
    return told


def begin(strategy: str, **more: Any) -> None:
    spec = {
        "run": "r1",
        "service": "x",
        "folder": V2,
        "strategy": strategy,
        "prompts": [],
        "ready_s": 9,
        "drain_s": 9,
        "undo_s": 9,
    }
    trial.keep("x", {**spec, **more}, before=V1, state="trying", why="", boot=trial.boot(), at=0)


def now() -> dict[str, Any]:
    found = trial.record("x")
    assert found is not None
    return found


def test_reload_is_mounted_read_asked_and_let_in(told: Told) -> None:
    begin("reload")
    switch.carry_out("x")
    assert told.words == ["arm", f"bind {V2}", "reload", "port enable", "arm"]
    assert now()["state"] == "serving"
    assert trial.committed("x") == V1  # a reboot now comes back with v1


def test_with_prompts_nobody_is_let_in_before_they_are_answered(told: Told) -> None:
    begin("reload", prompts=[{"prompt": "a", "expect": "b"}])
    switch.carry_out("x")
    assert told.words[:3] == ["arm", "port disable", f"bind {V2}"]


def test_swap_restarts_behind_a_closed_port_with_a_trial_in_run(told: Told, tmp_path: Path) -> None:
    begin("swap")
    switch.carry_out("x")
    assert told.words == ["arm", "port disable", "restart", "port enable", "arm"]
    path = tmp_path / "run/steelyard-vllm@x.service.d/60-trial.conf"
    assert f"BindReadOnlyPaths={V2}:/run/steelyard/x/model" in path.read_text()
    switch.confirm(Path("/m"), "p", "x", "r1")
    assert (trial.committed("x"), path.exists(), now()["state"]) == (V2, False, "confirmed")
    assert "current v2" in told.words


@pytest.mark.parametrize("wrong", ["reload", "token", "quality"])
def test_what_fails_in_place_is_read_back_or_started_anew(told: Told, wrong: str) -> None:
    begin("reload")
    told.wrong = {wrong}
    switch.carry_out("x")
    assert now()["state"] == "undone"
    assert ("restart" in told.words) == (wrong != "quality")
    assert told.words[-2:] == ["port enable", "disarm"]
    assert trial.committed("x") == V1


def test_requests_that_do_not_end_keep_the_old_version(told: Told) -> None:
    begin("swap")
    told.wrong = {"drain"}
    switch.carry_out("x")
    assert now()["why"] == "requests were still running after 9 s"


def test_a_port_is_never_left_closed_by_a_start_that_failed(told: Told) -> None:
    begin("swap")
    told.wrong = {"restart"}
    with pytest.raises(StoreError):
        switch.carry_out("x")
    assert told.words.count("restart") == 3  # the trial, and the old version twice
    assert not (front.MARKS / "x").exists()  # its next start lets requests in
    assert now()["state"] == "undoing"  # and the timer tries again


def test_a_trial_that_cannot_be_timed_is_not_left_open(told: Told) -> None:
    begin("reload")
    told.wrong = {"arm"}
    switch.carry_out("x")
    assert (now()["state"], now()["why"]) == ("undone", "arm failed")  # and the next rollout is not refused


def test_a_reboot_between_the_commit_and_its_record_is_a_confirmation(told: Told) -> None:
    begin("reload")
    path = trial.drop_in("x")
    path.write_text(path.read_text().replace(V1, V2))
    record = trial.RECORDS / "x.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "boot": "another", "state": "serving"}))
    assert now()["state"] == "confirmed"


def test_a_reboot_undoes_what_was_open(told: Told) -> None:
    begin("swap")
    path = trial.RECORDS / "x.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "boot": "another"}))
    assert (now()["state"], now()["why"]) == ("undone", "the host was rebooted")
    with pytest.raises(StoreError, match="not on trial: undone"):
        switch.confirm(Path("/m"), "p", "x", "r1")


def test_another_rollout_is_refused_while_one_is_open(told: Told) -> None:
    begin("swap")
    with pytest.raises(StoreError, match="another rollout is at x: r1"):
        switch.attempt({"service": "x", "run": "r2", "folder": V2})


def test_the_timer_leaves_what_an_apply_has_declared(told: Told) -> None:
    begin("reload")
    switch.carry_out("x")
    path = trial.drop_in("x")
    path.write_text(path.read_text().replace(V1, V2))
    assert switch.undo("x", "", "late")["state"] == "confirmed"
    assert "restart" not in told.words


def test_confirming_twice_is_confirming_once(told: Told) -> None:
    begin("reload")
    switch.carry_out("x")
    first = switch.confirm(Path("/m"), "p", "x", "r1")
    told.words.clear()
    assert switch.confirm(Path("/m"), "p", "x", "r1") == first
    assert told.words == []


def test_counters_of_a_drained_engine_are_looked_at_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([{"num_requests_running": 1.0}, {"num_requests_running": 0.0}, {"num_requests_waiting": 1.0}, {}, {}])
    monkeypatch.setattr(status, "requests", lambda service: next(answers))
    monkeypatch.setattr(haproxy, "stat", lambda path: {})
    assert front.drained("x", 5) is not None
    assert next(answers, None) is None


def test_requests_that_an_engine_has_not_counted_yet_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen with vLLM: between two steps of its core, /metrics says 0 while requests are in its queue."""
    monkeypatch.setattr(status, "requests", lambda service: {"num_requests_running": 0.0, "num_requests_waiting": 0.0})
    rows = iter([[0, 9], [3, 9], [3, 9], [0, 9], [0, 9]])
    monkeypatch.setattr(
        haproxy, "stat",
        lambda path: {f"engine-x/{name}": {"scur": str(count)} for name, count in zip(("x", "x--surge"), next(rows), strict=True)},
    )  # fmt: skip
    assert front.drained("x", 5) is not None
    assert next(rows, None) is None


def test_status_shows_a_trial_that_is_open_and_no_other(told: Told) -> None:
    found: dict[str, Any] = {"services": [{"name": "x"}, {"name": "y"}]}
    assert [entry["trial"] for entry in switch.with_trials(found)["services"]] == [None, None]
    begin("swap")
    switch.carry_out("x")
    assert [entry["trial"] for entry in switch.with_trials(found)["services"]] == [
        {"folder": V2, "state": "serving", "run": "r1"},
        None,
    ]
    assert serving({"mounted": "/llm/x/v1", **found["services"][0]}) == "/llm/x/v1; v2 on trial (serving)"
    switch.undo("x", "r1", "why not")
    assert switch.with_trials(found)["services"][0]["trial"] is None


def test_sleep_swap_keeps_the_engine_that_served_until_the_other_is_confirmed(told: Told) -> None:
    begin("sleep-swap")
    switch.carry_out("x")
    assert told.words == ["arm", "port disable", "lie_down", "restart", "port enable", "arm"]
    switch.confirm(Path("/m"), "p", "x", "r1")
    assert (trial.committed("x"), told.words.count("let_go")) == (V2, 1)


@pytest.mark.parametrize(("wrong", "started"), [("quality", 0), ("wake", 1), ("lie_down", 0)])
def test_it_wakes_where_the_other_is_refused_and_is_started_only_where_it_is_lost(told: Told, wrong: str, started: int) -> None:
    begin("sleep-swap")
    told.wrong = {wrong, "quality"}
    switch.carry_out("x")
    after = told.words[told.words.index("wake") :]
    assert (now()["state"], after.count("restart"), trial.committed("x")) == ("undone", started, V1)
    assert after[-2:] == ["port enable", "disarm"]
