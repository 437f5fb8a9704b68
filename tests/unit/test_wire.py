"""What goes over the wire is declared once: it is written as it always was, and read with care."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from steelyard_host.wire.codec import WireError, from_json, to_json
from steelyard_host.wire.rollout import (
    TOO_OLD,
    Cause,
    Prompt,
    Strategy,
    SwitchState,
    Trial,
    TrialRequest,
    TrialState,
    undone,
)
from steelyard_host.wire.services import Phase, ServiceState, Start

REQUEST = TrialRequest("r1", "chat", "/m/p/v2", Strategy.SLEEP_SWAP, (Prompt("4", prompt="2+2="),), 900, 60, 300)
TRIAL = Trial.begun(REQUEST, before="/m/p/v1", boot="b1", at=1.5)


def test_a_value_comes_back_as_it_was() -> None:
    trial = TRIAL._replace(cause=Cause("x", "it is full", "empty it"), gap_s=0.25, state=TrialState.UNDONE)
    for value in (REQUEST, TRIAL, trial, SwitchState(None, "/m/p/v1", None, trial)):
        assert from_json(type(value), json.loads(json.dumps(to_json(value)))) == value
    assert str(trial.state) == f"{trial.state}" == "undone"


def test_a_prompt_leaves_out_what_it_is_not() -> None:
    chat = Prompt("hi", messages=({"role": "user", "content": "hello"},), max_tokens=3)
    assert to_json(REQUEST.prompts[0]) == {"prompt": "2+2=", "expect": "4", "max_tokens": 64}
    assert to_json(chat) == {
        "messages": [{"role": "user", "content": "hello"}],
        "expect": "hi",
        "max_tokens": 3,
    }
    assert from_json(Prompt, to_json(chat)) == chat


def test_a_newer_side_may_say_more_and_an_older_one_less() -> None:
    state = from_json(
        SwitchState, {"serves": "/m/p/v1", "committed": "/m/p/v1", "previous": None, "switch": None, "x": 1}
    )
    assert state.no_surge == state.no_sleep == TOO_OLD
    assert state.start_s is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"state": "paused"}, "`state`: str 'paused' is none of trying, serving, confirmed, undoing, undone"),
        ({"state": ["trying"]}, "`state`: list is none of trying"),
        ({"before": None}, "`before`: str is expected, not NoneType"),
        ({"ready_s": "900"}, "`ready_s`: int is expected, not str '900'"),
        ({"ready_s": True}, "`ready_s`: int is expected, not bool True"),
        ({"gap_s": "soon"}, "`gap_s`: float is expected, not str 'soon'"),
        ({"prompts": {}}, "`prompts`: a list is expected, not dict"),
        ({"prompts": [{"expect": "a"}, {}]}, "`prompts[1].expect`: is missing"),
        ({"cause": {"code": 1, "sentence": "", "fix": ""}}, "`cause.code`: str is expected, not int 1"),
    ],
)
def test_what_differs_is_refused_with_its_key(change: dict[str, Any], said: str) -> None:
    with pytest.raises(WireError) as caught:
        from_json(Trial, {**to_json(TRIAL), **change})
    assert str(caught.value).startswith(said)


def test_what_is_no_object_is_refused() -> None:
    with pytest.raises(WireError, match="an object is expected, not list"):
        from_json(Trial, [])


def test_a_service_that_was_never_switched_has_no_record() -> None:
    assert undone({"state": "none"}) is None
    assert undone(to_json(TRIAL)) == TRIAL


def test_numbers_and_mappings_are_read_by_their_type() -> None:
    start = from_json(
        Start, {"began": 1, "seconds": 2.5, "phases": [{"phase": "import", "seconds": 2}], "said": {"a": 1}}
    )
    assert start == Start(1.0, 2.5, (Phase("import", 2.0),), {"a": 1.0})
    with pytest.raises(WireError, match=r"`said.a`: float is expected, not str"):
        from_json(Start, {"began": 1, "seconds": 2.5, "phases": [], "said": {"a": "b"}})


@pytest.mark.parametrize(
    ("state", "is_open", "is_settled", "serves_new"),
    [
        (TrialState.TRYING, True, False, False),
        (TrialState.SERVING, True, True, True),
        (TrialState.CONFIRMED, False, True, True),
        (TrialState.UNDOING, True, False, False),
        (TrialState.UNDONE, False, True, False),
    ],
)
def test_what_a_state_means(state: TrialState, is_open: bool, is_settled: bool, serves_new: bool) -> None:
    assert (state.is_open, state.is_settled, state.serves_new) == (is_open, is_settled, serves_new)


def test_a_state_of_a_newer_systemd_is_unknown() -> None:
    assert ServiceState.of("active") is ServiceState.ACTIVE
    assert ServiceState.of("dreaming") is ServiceState.of(None) is ServiceState.UNKNOWN


def test_the_wire_loads_nothing_else_of_the_helper() -> None:
    folder = Path(sys.modules["steelyard_host.wire"].__path__[0])
    modules = [f"steelyard_host.wire.{path.stem}" for path in folder.glob("[a-z]*.py")]
    program = f"import sys, {', '.join(modules)}; print([n for n in sys.modules if n in ('dataclasses', 'inspect')])"
    program += "; print([n for n in sys.modules if n.startswith('steelyard_host.') and '.wire' not in n])"
    done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["[]", "[]"]
