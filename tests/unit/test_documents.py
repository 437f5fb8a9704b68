"""Every JSON document is what its published schema says; a field more or less is noticed."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from steelyard.change import Change
from steelyard.dify.proof import Proof
from steelyard.drift.drifted import Drifted
from steelyard.drift.exceptions import DriftException, Placed
from steelyard.engine.plan import HostPlan, HostTraffic, Plan, task_of
from steelyard.errors import Exit, HostUnreachable, LockLost, SwitchFailed
from steelyard.finding import Finding
from steelyard.render.documents import JSON_VERSION, drift_document, plan_document
from steelyard.render.rollout import document as rollout_document
from steelyard.rollout.run import Outcome
from steelyard.unknowns import Unknown

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


STATE = {"serves": "/models/llm/tiny/v1"}
RECORD = {"folder": "/m/v2", "before": "/m/v1", "state": "confirmed", "strategy": "swap", "gap_s": 31.5, "why": ""}
ROLLED = Outcome({"a": RECORD}, {"b": SwitchFailed(where="b", why="w")}, rolled_back=True, left={"b"})


def document(command: str, content: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(json.dumps({"command": command, "version": JSON_VERSION, **content}))
    return made


def documents() -> list[dict[str, Any]]:
    cover = Placed(DriftException(id="*", reason="r", owner="o", expires=date(2026, 12, 1)), "x.yml:1")
    return [
        document("plan", plan_document(PLAN, Exit.HOST_FAILED)),
        document("apply", plan_document(PLAN, Exit.HOST_FAILED, LockLost(where="m"))),
        document("drift", drift_document(Drifted((FINDING,), ((FINDING, cover),)), PLAN, Exit.CHANGES)),
        document("doctor", {"findings": [FINDING.as_json()]}),
        document("rollout", rollout_document("tiny", "v2", ROLLED, {"a": STATE, "b": STATE})),
        document("rollback", rollout_document("tiny", "v1", None, {"a": STATE})),
        document("dify ls", {"dify": "u", "provider": "p", "models": [{"model": "m", "ours": True}]}),
        document("dify check", {"dify": "u", "models": [Proof("m", "llm", "answered", 0.5).as_json()]}),
        document("dify backups", {"host": "d", "backups": [{"archive": "a", "bytes": 1, "at": 1.5, "proved": False}]}),
        document("dify backup", {"host": "d", "archive": "a", "bytes": 1, "dify": "1.16.1", "files": 3}),
        document("dify verify", {"host": "d", "archive": "a", "dify": "1.16.1", "made": "x", "files": 3}),
        document("dify restore", {"host": "d", "archive": "a", "dify": "1.16.1", "seconds": 3.5}),
        document(
            "dify upgrade", {"host": "d", "from": "1.16.1", "to": "1.17.1", "state": "done", "outage": 9.5, "steps": [{}]}
        ),
        document("dify seed", {"cache": "c", "sha256": "0", "bytes": 1, "uv": "uv 0.13.9"}),
        document("lock", {"lock": None, "locks": [], "verb": "held"}),
        json.loads(json.dumps({"version": JSON_VERSION, **HostUnreachable(where="b", why="x", address="y").as_json()})),
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
