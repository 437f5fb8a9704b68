"""A rollout without hosts: which strategy, what it costs, what is told to whom in which order, and where everything ends."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from steelyard.engine.waves import Share
from steelyard.errors import ConnectionLost, Exit, HelperRefused, PromptsWrong
from steelyard.models.manifest import File, Manifest
from steelyard.problem import HostProblem
from steelyard.rollout.journal import Journal
from steelyard.rollout.prompts import read_prompts
from steelyard.rollout.run import Move, Rollout
from steelyard.rollout.strategy import Prediction, chosen, why_not_reload
from steelyard.site import Serve
from steelyard_host.trial import text_of

SERVE = Serve(hosts="gpu")


def manifest(weights: str = "a", config: str = "c", shape: tuple[int, ...] = (2, 2)) -> Manifest:
    files = {"model.safetensors": File(8, weights, weights, ()), "config.json": File(2, config, config, ())}
    return Manifest.of(files, {"model.safetensors": {"w": {"dtype": "BF16", "shape": list(shape), "blake3": weights}}})


def test_weights_alone_are_taken_in_place() -> None:
    assert why_not_reload(manifest("a"), manifest("b"), SERVE) is None


@pytest.mark.parametrize(
    ("after", "serve", "why"),
    [
        (manifest("b", config="d"), SERVE, "config.json is another one"),
        (manifest("b", shape=(4, 1)), SERVE, "its tensors have other names, shapes or types"),
        (manifest("b"), SERVE.model_copy(update={"options": {"quantization": "fp8"}}), "its weights are quantized"),
    ],
)
def test_what_an_engine_reads_at_its_start_only_needs_one(after: Manifest, serve: Serve, why: str) -> None:
    assert str(why_not_reload(manifest("a"), after, serve)).startswith(why)


@pytest.mark.parametrize(
    ("why_not", "others", "taken"),
    [
        ((None, "full", "full"), 0, "reload"),
        (("shapes", None, None), 0, "surge"),
        (("shapes", "full", None), 0, "sleep-swap"),
        (("shapes", "full", "full"), 0, "swap"),
        (("shapes", None, None), 1, "swap"),  # others answer meanwhile: no memory is asked for
    ],
)
def test_auto_takes_the_least_wait_that_is_safe(
    why_not: tuple[str | None, str | None, str | None], others: int, taken: str
) -> None:
    assert chosen("auto", *why_not, others) == taken
    assert chosen("sleep-swap", *why_not, others) == "sleep-swap"


def test_a_wait_that_is_longer_than_the_gateway_holds_is_told() -> None:
    state = {"start_s": 100.0, "weights_s": 2.0}
    assert Prediction.of("swap", state, 0).too_long(120) == 150
    assert Prediction.of("swap", state, 0).too_long(150) is None
    assert Prediction.of("swap", state, 1).too_long(0) is None  # another replica answers
    assert Prediction.of("reload", state, 0).too_long(0) is None  # the engine itself holds them
    assert Prediction.of("swap", {"start_s": None, "weights_s": None}, 0).too_long(120) == 450


def test_quality_set_is_read(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text('{"prompt": "2+2=", "expect": "4"}\n\n{"messages": [{"role": "user", "content": "hi"}], "expect": "."}\n')
    assert [sorted(entry) for entry in read_prompts(path)] == [
        ["expect", "max_tokens", "prompt"],
        ["expect", "max_tokens", "messages"],
    ]


@pytest.mark.parametrize(
    ("text", "line", "word"),
    [
        ('{"prompt": "a", "expect": "["}', ":1", "no regular expression"),
        ('{"prompt": "a", "expect": "b"}\n{"prompt": "a"}', ":2", "expect"),
        ('{"expect": "b"}', ":1", "give `prompt` or `messages`"),
        ("no JSON", ":1", "JSON"),
        ("", "", "there is no prompt"),
    ],
)
def test_quality_set_that_is_wrong_is_refused_with_its_line(tmp_path: Path, text: str, line: str, word: str) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text(text)
    with pytest.raises(PromptsWrong) as caught:
        read_prompts(path)
    assert caught.value.where == f"{path}{line}"
    assert word in str(caught.value)


def test_trial_says_every_list_again_with_the_other_folder() -> None:
    unit = "[Service]\nExecStart=/engine\nExecStartPost=+ready x\n"
    drop_in = "# why\n[Service]\nBindReadOnlyPaths=/m/v1:/run/x/model\nExecStartPre=-+warm /m/v1 300\nExecStartPost=-+replaced /m/v1\n"
    assert text_of(unit, drop_in, "/m/v1", "/m/v2").splitlines() == [
        "[Service]", "BindReadOnlyPaths=", "ExecStartPre=", "ExecStartPost=", "ExecStartPost=+ready x",
        "BindReadOnlyPaths=/m/v2:/run/x/model", "ExecStartPre=-+warm /m/v2 300", "ExecStartPost=-+replaced /m/v2",
    ]  # fmt: skip


class Fakes:
    """Hosts as the helpers are: each has a record, and what goes wrong with it by name of the step."""

    def __init__(self, **wrong: str) -> None:
        self.wrong = wrong
        self.serves: dict[str, str] = {}
        self.records: dict[str, dict[str, Any]] = {}
        self.told: list[str] = []

    def ask(self, host: str, *words: str, stdin: str | None = None, seconds: float = 60, idle: bool = False) -> dict[str, Any]:
        if words[0] == "store-warm":
            return {}
        step = words[0].removeprefix("switch-")
        self.told.append(f"{host} {step}")
        fails = self.wrong.get(host, "")
        if fails == f"lost at {step}" or fails == "gone":
            raise HostProblem(ConnectionLost(where=host, why="reset"))
        if step == "try":
            given = json.loads(stdin or "")
            before = self.serves.get(host, "/m/p/v1")
            state = "undone" if fails == "gate" else "serving"
            self.records[host] = {**given, "before": before, "state": state, "why": "the gate" if fails else ""}
            if state == "serving":
                self.serves[host] = given["folder"]
        elif step == "confirm":
            self.records[host]["state"] = "confirmed"
        elif step == "undo":
            self.serves[host] = self.records[host]["before"]
            self.records[host]["state"] = "undone"
        return dict(self.records[host])

    def settled(self, host: str, run: str, seconds: float) -> dict[str, Any]:
        if self.wrong.get(host) == "gone" or host not in self.records:
            raise HostProblem(HelperRefused(where=host, command="switch-try", why="never begun"))
        return dict(self.records[host])


def rollout(tmp_path: Path, fakes: Fakes, allowed: int = 0, serial: int = 1, gate: str | None = None) -> Any:
    hosts = ["a", "b", "c"]
    move = Move("r1", "tiny", "tiny", "/m", "p", "v2", dict.fromkeys(hosts, "reload"))
    journal = Journal(tmp_path / "j.jsonl")
    journal.begin({"run": "r1"})
    return Rollout(move, fakes, journal, lambda event: None, lambda names: gate).carry_out(hosts, Share(serial), Share(allowed))


def test_hosts_are_tried_and_confirmed_wave_by_wave(tmp_path: Path) -> None:
    fakes = Fakes()
    done = rollout(tmp_path, fakes)
    assert fakes.told == ["a try", "a confirm", "b try", "b confirm", "c try", "c confirm"]
    assert (done.exit, set(fakes.serves.values())) == (Exit.DONE, {"/m/p/v2"})
    assert Journal(tmp_path / "j.jsonl").unfinished() is None


def test_one_that_fails_takes_the_others_back(tmp_path: Path) -> None:
    fakes = Fakes(b="gate")
    done = rollout(tmp_path, fakes)
    assert fakes.told == ["a try", "a confirm", "b try", "a try", "a confirm"]
    assert (done.exit, fakes.serves["a"], done.left) == (Exit.ROLLED_BACK, "/m/p/v1", set())
    assert "the gate" in str(done.errors["b"])


def test_as_many_may_fail_as_were_allowed(tmp_path: Path) -> None:
    fakes = Fakes(b="gate")
    done = rollout(tmp_path, fakes, allowed=1)
    assert (done.exit, done.rolled_back, fakes.serves) == (Exit.HOST_FAILED, False, {"a": "/m/p/v2", "c": "/m/p/v2"})


def test_a_word_that_was_lost_is_said_again(tmp_path: Path) -> None:
    fakes = Fakes()
    lost = iter([True])
    ask = fakes.ask

    def once(host: str, *words: str, stdin: str | None = None, seconds: float = 60, idle: bool = False) -> dict[str, Any]:
        if words[0] == "switch-confirm" and next(lost, False):
            raise HostProblem(ConnectionLost(where=host, why="reset"))
        return ask(host, *words, stdin=stdin, seconds=seconds)

    fakes.ask = once  # type: ignore[method-assign]
    assert rollout(tmp_path, fakes).exit == Exit.DONE


def test_a_host_that_cannot_be_confirmed_goes_back_with_the_others(tmp_path: Path) -> None:
    fakes = Fakes(b="lost at confirm")
    done = rollout(tmp_path, fakes)
    assert (done.exit, fakes.serves["a"], fakes.serves["b"]) == (Exit.ROLLED_BACK, "/m/p/v1", "/m/p/v1")


def test_a_host_that_is_gone_is_named_as_unknown(tmp_path: Path) -> None:
    done = rollout(tmp_path, Fakes(b="gone"))
    assert (done.exit, done.left) == (Exit.HOST_FAILED, {"b"})


def test_a_gate_that_refuses_undoes_the_wave(tmp_path: Path) -> None:
    fakes = Fakes()
    done = rollout(tmp_path, fakes, serial=3, gate="the gateway sees b DOWN")
    assert (done.exit, set(fakes.serves.values())) == (Exit.ROLLED_BACK, {"/m/p/v1"})
    assert not [told for told in fakes.told if "confirm" in told]


def test_a_rollout_that_was_cut_short_is_known_by_its_journal(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.jsonl")
    assert journal.unfinished() is None
    journal.begin({"run": "r1", "version": "v2"})
    journal.step("try", "a")
    assert journal.unfinished() == {"run": "r1", "version": "v2"}
    journal.path.write_text(journal.path.read_text() + '{"step": "co')  # torn by a kill
    assert replace(journal).unfinished() == {"run": "r1", "version": "v2"}
