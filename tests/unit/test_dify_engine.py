"""The deploy file `dify.py` by our own engine, against a Dify over real HTTP: looked at, and applied."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dify_role import HOST, DifyRole
from dify_world import PROVIDER, World, a_world
from pyinfra.api.command import StringCommand
from pyinfra.connectors.base import BaseConnector
from pyinfra.connectors.util import CommandOutput, OutputLine

from steelyard.engine.audit import Audit
from steelyard.engine.execute import Execution
from steelyard.engine.plan import Plan
from steelyard.engine.run_owner import RunOwner
from steelyard.engine.session import Session
from steelyard.engine.waves import FailLimit, waves_of
from steelyard.errors import DifyModelUsed, DifyVectorsChanged, Exit
from steelyard.modules.operations.dify import MARKS, client_of
from steelyard.site.resolve import site_of

DEPLOY = Path(__file__).parent.parent.parent / "deploy" / "dify.py"
FILES: dict[str, bytes] = {}


class Machine(BaseConnector):
    """A host that has files, and nothing else."""

    handles_execution = True
    data_cls = dict  # type: ignore[assignment]
    data_meta = {}

    @staticmethod
    def make_names_data(name: str) -> Iterator[tuple[str, dict[str, Any], list[str]]]:
        yield name, {}, []

    def connect(self) -> None: ...

    def disconnect(self) -> None: ...

    def run_shell_command(self, command: StringCommand, *_: Any, **given: Any) -> tuple[bool, CommandOutput]:
        words, content = command.get_raw_value(), FILES.get(MARKS)
        lines: list[str] = []
        if f"test -L {MARKS}" in words:
            lines = ["kind=none"]
            if content is not None:
                lines = ["kind=file", "mode=0600", "user=root", "group=root"]
                lines.append(f"sha256={hashlib.sha256(content).hexdigest()}")
        elif f"base64 {MARKS}" in words:
            lines = [base64.b64encode(content).decode() if content else "none"]
        elif f"mv -T {MARKS}.steelyard-new" in words:
            FILES[MARKS] = base64.b64decode(given["_stdin"])
        return not words.endswith("exit 1"), CommandOutput([OutputLine("stdout", line) for line in lines])

    def put_file(self, *_: Any, **__: Any) -> bool:
        return True

    get_file = rsync = put_file


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    FILES.clear()
    with a_world(tmp_path) as made:
        yield made


def run(role: DifyRole, apply: bool) -> Plan:
    client_of.cache_clear()
    fleet = role.fleet()
    with Session(fleet, site_of(fleet), (HOST,), DEPLOY, Machine, lambda _: None) as session:
        planned = session.look(keep=apply)
        if not apply:
            return planned
        audit = Audit(RunOwner.here("test"), lambda text: text)
        execution = Execution(session, FailLimit(1, None), audit, lambda *_: None)
        return execution.run(list(waves_of((HOST,), None)))


def tasks_of(plan: Plan) -> list[str]:
    return [task.name for host in plan.hosts for task in host.tasks]


def test_a_used_model_is_a_finding_and_the_last_thing_that_an_apply_says(world: World) -> None:
    role = DifyRole(world)
    role.declare("tiny")
    assert run(role, apply=True).exit is Exit.CHANGES
    assert run(role, apply=False).exit is Exit.DONE
    world.app("Support", "tiny")
    role.models.clear()
    role.declare("embed", "text-embedding")
    planned = run(role, apply=False)
    assert (planned.exit, planned.errors) == (Exit.CHANGES, [])
    assert tasks_of(planned) == ["Register the models", "Keep the marks of the keys", "Keep the models that are used"]
    findings = {finding.code: finding.live for finding in planned.findings("fix")}
    assert "still used by app `Support`" in findings["dify.keep-the-models-that-are-used"]
    applied = run(role, apply=True)
    (error,) = applied.errors
    assert isinstance(error, DifyModelUsed)
    assert {entry["model"] for entry in world.client().models(PROVIDER)} == {"tiny", "embed"}
    assert tasks_of(run(role, apply=False)) == ["Keep the models that are used"]


def test_another_version_of_an_embedding_model_is_a_finding_and_changes_no_mark(world: World) -> None:
    role = DifyRole(world)
    role.declare("embed", "text-embedding")
    run(role, apply=True)
    world.knowledge("Handbook", "embed")
    role.declare("embed", "text-embedding", version="v2")
    assert tasks_of(run(role, apply=False)) == ["Keep the models that are used"]
    (error,) = run(role, apply=True).errors
    assert isinstance(error, DifyVectorsChanged)
    assert tasks_of(run(role, apply=False)) == ["Keep the models that are used"]
