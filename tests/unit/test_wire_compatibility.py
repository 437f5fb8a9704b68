"""Helpers and controllers of different releases: what one says is understood by the other or refused, never misread.

`tests/data/wire-5e44696/answers.json` is what the helper of that commit answers on the host of helper_world.py.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import helper_world
import pytest
from wire_recording import lost, recorder

from steelyard.api.host_error import HostError
from steelyard.errors import HelperUnreadable
from steelyard.modules.connectors.helper_call import read_answer
from steelyard.rollout.run import RolloutPlan
from steelyard.workflows import host_status
from steelyard_host.errors import HelperError
from steelyard_host.rollout import switch
from steelyard_host.wire.codec import from_json, to_json
from steelyard_host.wire.rollout import TOO_OLD, Prompt, Strategy, SwitchState, Trial, undone
from steelyard_host.wire.services import EngineCounters, HostStatus, ProxyState, TokenAnswer

ROOT = Path(__file__).parent.parent.parent
RECORDED = ROOT / "tests/data/wire-5e44696/answers.json"
OLDER: dict[str, Any] = json.loads(RECORDED.read_text())
STATES = ("", "-serving", "-undone", "-trying", "-undoing", "-confirmed", "-rebooted")
KINDS: dict[str, type[Any]] = {
    "status": HostStatus,
    "status-serving": HostStatus,
    "token": TokenAnswer,
    "token-mute": TokenAnswer,
    "service-counters": EngineCounters,
    "haproxy": ProxyState,
    "haproxy-dead": ProxyState,
    "switch-try": Trial,
    "switch-undo": Trial,
    **{f"switch-state{state}": SwitchState for state in STATES},
}
REFUSALS = ("switch-confirm-none", "switch-try-other", "switch-confirm-undone")
PLAIN = ("commands", "services", "switch-undo-none")  # read as they are


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What this checkout's helper answers on the same host."""
    answers: dict[str, Any] = json.loads(
        recorder().answers(ROOT / "src", tmp_path_factory.mktemp("wire") / "host", "helper_world.py")
    )
    return answers


def test_every_recorded_answer_is_tried() -> None:
    assert set(OLDER) == {*KINDS, *REFUSALS, *PLAIN}


def test_the_recording_is_what_that_helper_says() -> None:
    try:
        again = recorder().recorded("5e44696", "helper_world.py")
    except subprocess.CalledProcessError:
        pytest.skip("this checkout does not have the commit")
    assert json.loads(again) == OLDER


def test_an_older_controller_finds_what_it_reads(newer: dict[str, Any]) -> None:
    assert list(lost({**OLDER, "commands": None}, {**newer, "commands": None})) == []


def test_every_word_of_an_older_controller_is_known(newer: dict[str, Any]) -> None:
    assert set(OLDER["commands"]) <= set(newer["commands"])


@pytest.mark.parametrize("case", KINDS)
def test_an_older_helpers_answer_is_understood_whole(case: str) -> None:
    value = read_answer("gpu-1", KINDS[case], case, OLDER[case])
    read = to_json(value)
    unsaid = {name: default for name, default in value._field_defaults.items() if name not in OLDER[case]}
    assert list(lost(OLDER[case], {name: said for name, said in read.items() if name not in unsaid})) == []


def test_an_older_helper_that_does_not_know_a_strategy_says_so_by_silence() -> None:
    older = {name: said for name, said in OLDER["switch-state"].items() if name not in ("no_surge", "no_sleep")}
    state = from_json(SwitchState, older)
    assert (state.no_surge, state.no_sleep) == (TOO_OLD, TOO_OLD)


def test_a_service_that_was_never_switched_has_no_trial() -> None:
    assert undone(OLDER["switch-undo-none"]) is None


@pytest.mark.parametrize(
    ("case", "path", "said"),
    [
        ("switch-try", ("state",), "`state`: str 'paused' is none of trying"),
        ("switch-try", ("strategy",), "`strategy`: str 'paused' is none of reload"),
        ("switch-state-serving", ("switch", "state"), "`switch.state`: str 'paused' is none of trying"),
        ("status", ("services", 0, "state"), "`services[0].state`: str 'paused' is none of active"),
        ("status", ("services", 0, "restarts"), "`services[0].restarts`: int is expected, not str 'paused'"),
        ("haproxy", ("weights",), "`weights`: an object is expected, not str 'paused'"),
        ("token", ("gives",), "`gives`: bool is expected, not str 'paused'"),
    ],
)
def test_what_a_helper_of_another_release_may_say_is_refused_by_its_key(
    case: str, path: tuple[str | int, ...], said: str
) -> None:
    document: Any = json.loads(json.dumps(OLDER[case]))
    *above, last = path
    entry = document
    for step in above:
        entry = entry[step]
    entry[last] = "paused"
    with pytest.raises(HostError) as caught:
        read_answer("gpu-1", KINDS[case], case, document)
    error = caught.value.error
    assert isinstance(error, HelperUnreadable)
    assert error.why.startswith(said)
    assert error.remedy == "bring its helper to this release: `steelyard apply --deploy serve -l gpu-1`"


def test_a_request_is_what_older_helpers_read() -> None:
    plan = RolloutPlan("r1", "tiny", "tiny", "/w/models", "llm/tiny", "v2", {"a": Strategy.SLEEP_SWAP})
    assert to_json(plan.request("a", plan.folder, "r1")) == helper_world.request(Path("/w"), "r1", "sleep-swap")
    asked = to_json(
        RolloutPlan("r", "t", "t", "/m", "p", "v", {"a": Strategy.SWAP}, (Prompt("4", "2+2="),)).request("a", "/m", "r")
    )
    assert asked["prompts"] == [{"prompt": "2+2=", "expect": "4", "max_tokens": 64}]  # no null for `messages`


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"strategy": "teleport"}, "`strategy`: str 'teleport' is none of reload, sleep-swap, surge, swap"),
        ({"ready_s": None}, "`ready_s`: int is expected"),
        ({"prompts": [{"prompt": "a"}]}, r"`prompts[0].expect`: is missing"),
    ],
)
def test_a_newer_controllers_request_is_understood_or_refused(
    monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], said: str
) -> None:
    import io

    asked = {**helper_world.request(Path("/w"), "r1", "swap"), "of_tomorrow": 1}
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(asked)))
    assert switch.read_request().strategy is Strategy.SWAP
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps({**asked, **change})))
    with pytest.raises(HelperError) as caught:
        switch.read_request()
    assert str(caught.value).startswith(f"the switch to try cannot be read: {said}")


def test_a_host_whose_status_is_not_understood_fails_and_the_others_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    failed: dict[str, Any] = {}
    documents = {"old": OLDER["status"], "bare": None, "odd": {**OLDER["status"], "services": [{"name": "tiny"}]}}

    def answer(host: Any, kind: type[HostStatus], command: str) -> HostStatus | None:
        document = documents[host.name]
        return None if document is None else read_answer(host.name, kind, command, document)

    def each(work: Callable[[Any], None], doing: str = "") -> None:
        for name in documents:
            try:
                work(SimpleNamespace(name=name, connector=SimpleNamespace(disconnect=lambda: None)))
            except HostError as problem:
                failed[name] = problem.error

    monkeypatch.setattr(host_status, "call_helper", answer)
    session: Any = SimpleNamespace(each=each, errors={})
    statuses = host_status.look(session, ()).hosts
    assert list(statuses) == ["old", "bare"]
    assert statuses["bare"] is None
    assert [service.name for service in statuses["old"].services] == ["lazy", "tiny"]  # type: ignore[union-attr]
    assert str(failed["odd"]) == "odd: the helper's answer to `status` cannot be read: `services[0].unit`: is missing"
