"""Every JSON document is what its published schema says; a field more or less is noticed."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from steelyard import errors
from steelyard.api.change import Change
from steelyard.api.finding import Finding
from steelyard.api.unknown import Unknown
from steelyard.dify.proof import ModelProof
from steelyard.drift.exceptions import DeclaredException, DriftException
from steelyard.drift.report import DriftReport
from steelyard.engine.lock_quorum import HeldLock
from steelyard.engine.plan import HostPlan, HostTraffic, Plan, task_of
from steelyard.engine.run_owner import RunOwner
from steelyard.engine.waves import Share
from steelyard.errors import Exit, HostUnreachable, LockLost, SwitchFailed
from steelyard.render.documents import JSON_VERSION, drift_document, error_document, plan_document
from steelyard.render.rollout import document as rollout_document
from steelyard.rollout.prepared import PreparedRollout
from steelyard.rollout.request import RolloutRequest
from steelyard.rollout.run import RolloutOutcome
from steelyard_host.wire.rollout import Strategy, SwitchState, Trial, TrialState

SCHEMA = json.loads((Path(__file__).parent.parent.parent / "docs/reference/schemas/steelyard.schema.json").read_text())
TASK = task_of({"base | Set the mode"}, [Change("chmod 0644 /x", subject="/x", declared="0644", live="0600")])
PLAN = Plan(
    (
        HostPlan("a", (TASK,), 1, (Unknown("a", "w", "b", "s"),), traffic=HostTraffic(1, 1, 1, 40)),
        HostPlan("b", (), 0, error=HostUnreachable(where="b", why="x", address="y"), last_words=("z",)),
        HostPlan("c", (), 0, skipped=True),
    )
)
FINDING = Finding("a", "base.set-the-mode", "/x", "0644", "0600", "apply", since="2026-11-22T10:00:00Z")


STATE = SwitchState("/models/llm/tiny/v1", "/models/llm/tiny/v1", None, None)
RECORD = Trial("r1", "tiny", "/m/v2", Strategy.SWAP, "/m/v1", TrialState.CONFIRMED, gap_s=31.5)
ROLLED = RolloutOutcome({"a": RECORD}, {"b": SwitchFailed(where="b", why="w")}, rolled_back=True, left={"b"})


def prepared(version: str, *hosts: str) -> PreparedRollout:
    request = RolloutRequest(None, (), None, Share(0), 300)
    return PreparedRollout("tiny", version, (), (), dict.fromkeys(hosts, STATE), {}, request)


def document(command: str, content: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(json.dumps({"command": command, "version": JSON_VERSION, **content}))
    return made


def locks_document() -> dict[str, Any]:
    rows = [
        HeldLock("lock", ("a", "b"), RunOwner.here("apply site"), "2026-11-22T10:00:00Z", 60).as_json(),
        HeldLock("lock.x", ("a",), None, "", 0, is_older=True).as_json(),
    ]
    return {"lock": rows[0], "locks": rows, "verb": "broken", "keepers": ["a", "b", "c"], "silent": ["c"]}


STAYED = {"removed": ["app `x`"], "left": []}
PASSED = {"passed_over": [{"name": "volumes/x", "why": "is a FIFO"}], "passed_over_count": 1}


def documents() -> list[dict[str, Any]]:
    cover = DeclaredException(DriftException(id="*", reason="r", owner="o", expires=date(2026, 12, 1)), "x.yml:1")
    return [
        document("plan", plan_document(PLAN, Exit.HOST_FAILED)),
        document("apply", plan_document(PLAN, Exit.HOST_FAILED, LockLost(where="m"))),
        document("drift", drift_document(DriftReport((FINDING,), ((FINDING, cover),)), PLAN, Exit.CHANGES)),
        document("doctor", {"findings": [FINDING.as_json()]}),
        document("rollout", rollout_document(prepared("v2", "a", "b"), ROLLED)),
        document("rollback", rollout_document(prepared("v1", "a"), None)),
        document("dify ls", {"dify": "u", "provider": "p", "models": [{"model": "m", "ours": True}]}),
        document("dify login", {"dify": "u", "email": None, "workspaces": ["ops's"]}),
        document("dify check", {"dify": "u", "models": [ModelProof("m", "llm", "answered", 0.5).as_json()], **STAYED}),
        document("dify backups", {"host": "d", "backups": [{"archive": "a", "bytes": 1, "at": 1.5, "proved": False}]}),
        document("dify backup", {"host": "d", "archive": "a", "bytes": 1, "dify": "1.16.1", "files": 3, **PASSED}),
        document("dify verify", {"host": "d", "archive": "a", "dify": "1.16.1", "made": "x", "files": 3, **PASSED}),
        document("dify restore", {"host": "d", "archive": "a", "dify": "1.16.1", "seconds": 3.5}),
        document(
            "dify upgrade",
            {"host": "d", "from": "1.16.1", "to": "1.17.1", "state": "done", "outage": 9.5, "steps": [{}]},
        ),
        document("dify images", {"images": ["langgenius/dify-api:1.17.1"]}),
        document("dify secrets", {"file": "prod/group_vars/dify/dify_secrets.yml", "made": ["SECRET_KEY"]}),
        document("dify seed", {"cache": "c", "sha256": "0", "bytes": 1, "uv": "uv 0.13.9", "failed": []}),
        document("lock", {"lock": None, "locks": [], "verb": "held", "keepers": ["a"], "silent": ["a"]}),
        document("lock", locks_document()),
    ]


@pytest.mark.parametrize("made", documents(), ids=lambda made: made.get("command", "an error"))
def test_documents_are_what_the_schema_says(made: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(made, SCHEMA)


@pytest.mark.parametrize("made", documents()[:4], ids=lambda made: made["command"])
def test_a_field_more_or_less_is_noticed(made: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**made, "surprise": 1}, SCHEMA)
    for key in made:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({name: value for name, value in made.items() if name != key}, SCHEMA)


def test_an_error_alone_is_a_document_whatever_its_fields_are_called() -> None:
    named = [getattr(errors, name) for name in errors.__all__]
    classes = [kind for kind in named if isinstance(kind, type) and hasattr(kind, "sentence")]
    taken = [kind for kind in classes if {"version", "command"} & set(kind.fields())]
    assert taken, "so nothing is shown here"
    ended = jsonschema.Draft202012Validator({**SCHEMA["$defs"]["ended"], "$defs": SCHEMA["$defs"]})
    for kind in classes:
        made = json.loads(json.dumps(error_document(kind(**dict.fromkeys(kind.fields(), "x")))))
        ended.validate(made)
        assert {name.removeprefix("error_") for name in made} >= set(kind.fields())
        assert made["version"] == JSON_VERSION


def test_what_collect_and_push_of_wheels_print_is_what_the_schema_says(capsys: pytest.CaptureFixture[str]) -> None:
    from steelyard.artifacts.wheel_plan import CollectedSet
    from steelyard.artifacts.wheel_push import Delivered
    from steelyard.errors import SteelyardError
    from steelyard.render.screen import Screen
    from steelyard.render.wheels import show_collected, show_delivered

    failed: dict[str, SteelyardError] = {"b": HostUnreachable(where="b", why="x", address="y")}
    show_collected(
        Screen(json=True),
        [CollectedSet("llamacpp 1", "w/llamacpp-1", 3, 9, "0" * 64, True, "llamacpp: {lock_sha256: 0}")],
    )
    jsonschema.validate(json.loads(capsys.readouterr().out), SCHEMA)
    show_delivered(Screen(json=True), [Delivered("a", "llamacpp 1", "/srv/w", 3, 1, 4, "0" * 64)], failed)
    jsonschema.validate(json.loads(capsys.readouterr().out), SCHEMA)
