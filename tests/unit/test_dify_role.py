"""The role `dify` as a whole: what is blocked blocks nothing else, and marks outlive the password."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from dify_role import DifyRole
from dify_world import OPENAI, PASSWORD, PROVIDER, World, a_world, package, writes

from steelyard.api.change import Refusal
from steelyard.cli.apply import refuse_used
from steelyard.drift.report import DriftReport
from steelyard.engine.plan import HostPlan, Plan, Task, shown_command
from steelyard.errors import DifyModelUsed, DifyPluginKept, DifyUnreachable, DifyVectorsChanged, Exit
from steelyard.render.documents import plan_document
from steelyard.render.plan import show_drift
from steelyard.render.screen import Screen
from steelyard.roles.dify import refuse_new_vectors
from steelyard.rollout.open_trials import served_on
from steelyard.site.resolve import site_of
from steelyard_host.wire.rollout import SwitchState


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with a_world(tmp_path) as made:
        yield made


@pytest.fixture
def role(world: World) -> DifyRole:
    made = DifyRole(world)
    made.declare("tiny")
    return made


def test_a_second_apply_changes_nothing_and_writes_nothing(role: DifyRole) -> None:
    assert role.apply().error is None
    role.world.requests.clear()
    assert role.apply().tasks == {}
    assert role.plan().tasks == {}
    assert writes(role.world.requests) == []


def test_marks_outlive_a_changed_password(role: DifyRole) -> None:
    role.apply()
    role.dify["password"] = "another-passw0rd"
    role.world.set_password("another-passw0rd")
    assert role.plan().tasks == {}


def test_marks_of_before_are_known_by_the_password_and_get_a_key_of_their_own(role: DifyRole) -> None:
    role.apply()
    old = role.world.wanted(role.world.model("tiny", display_name="tiny", context_size="4096"))
    fields = {**old.models[0].fields, "max_tokens_to_sample": "1024"}
    role.marks = json.dumps({"llm/tiny/steelyard": role.world.mark(PASSWORD, fields)})
    assert list(role.plan().tasks) == ["Keep the marks of the keys"]
    role.apply()
    assert len(role.kept["key"]) == 64
    assert role.kept["key"] != PASSWORD
    assert role.plan().tasks == {}


def test_drift_that_could_not_look_at_a_host_never_says_that_there_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    down = DifyUnreachable(where="http://dify", why="connection refused")
    plan = Plan((HostPlan("gpu-1", (), 3), HostPlan("dify-1", (), 0, error=down, more_errors=(down, down))))
    show_drift(Screen(), plan, DriftReport((), (), ()), Exit.HOST_FAILED)
    (last,) = capsys.readouterr().out.splitlines()
    assert last == "drift: no finding on 1 host, 1 host not looked at: dify-1"


def test_an_apply_of_more_than_dify_is_refused_before_anything_where_a_model_is_used(
    role: DifyRole, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its engine would stop with it; with Dify alone nothing stops, and Dify's own task keeps it."""
    errors = [DifyModelUsed(where="http://dify", model=name, users="app `Support`") for name in ("tiny", "other")]
    kept = Task("dify", "Keep", tuple(shown_command(Refusal(str(error), error)) for error in errors))
    alone = Plan((HostPlan("dify-1", (kept,), 0),))
    refuse_used(Screen(), alone)
    (shown,) = plan_document(alone, Exit.CHANGES)["hosts"]
    assert [command["refusal"] for command in cast(list[dict[str, str]], shown["tasks"][0]["commands"])] == [
        str(error) for error in errors
    ]
    engines = HostPlan("gpu-1", (Task("vllm", "Stop", (shown_command(Refusal("x")),)),), 0)
    with pytest.raises(DifyModelUsed, match="`other`"):
        refuse_used(Screen(), Plan((*alone.hosts, engines)))
    assert "`tiny`" in capsys.readouterr().err


def test_what_is_used_stays_and_everything_else_is_done(role: DifyRole) -> None:
    role.declare("other")
    role.apply()
    role.world.app("Support", "tiny")
    role.world.app("Sales", "other")
    role.models.clear()
    role.declare("embed", "text-embedding")
    planned = role.plan()
    assert planned.tasks["Register the models"] == ["call Dify model embed (create)"]
    told = "\n".join(planned.tasks["Keep the models that are used"])
    assert "`tiny` is not declared any more and still used by app `Support`" in told
    assert "`other` is not declared any more and still used by app `Sales`" in told
    applied = role.apply()
    assert isinstance(applied.error, DifyModelUsed)
    assert "text-embedding/embed/steelyard" in role.kept
    held = {entry["model"] for entry in role.world.client().models(PROVIDER)}
    assert held == {"tiny", "other", "embed"}


def test_a_plan_tells_which_keys_are_at_stake_and_the_apply_takes_none(role: DifyRole, tmp_path: Path) -> None:
    role.apply()
    role.world.by_console(package(tmp_path, "0.9.1", OPENAI.rpartition("/")[0]))
    role.world.team_key(OPENAI)
    newer = package(tmp_path, "0.9.2", OPENAI.rpartition("/")[0])
    role.dify["plugins"] = [{"package": newer.path, "sha256": newer.sha256}]
    planned = role.plan()
    assert planned.tasks["Install the plugins"] == ["call Dify plugin langgenius/openai"]
    (unknown,) = planned.unknown
    assert (
        "replace plugin langgenius/openai 0.9.1 by 0.9.2: by an uninstall it would delete credential `team key`"
        in unknown
    )
    assert isinstance(role.apply().error, DifyPluginKept)
    assert newer.mark not in role.kept


def test_what_is_used_and_would_go_after_its_successor_is_no_change_either(role: DifyRole) -> None:
    role.apply()
    role.world.app("Support", "tiny")
    role.models.clear()
    role.declare("other", default=True)
    planned = role.plan()
    assert planned.tasks["Register the models"] == ["call Dify model other (create)", "call Dify default llm (default)"]
    assert len(planned.tasks["Keep the models that are used"]) == 1


def test_an_embedding_model_of_which_another_version_answers_is_refused_while_knowledge_bases_use_it(
    role: DifyRole,
) -> None:
    role.declare("embed", "text-embedding")
    role.apply()
    for name in "ABCDEFG":
        role.world.knowledge(f"Handbook {name}", "embed")
    assert role.plan().tasks == {}
    role.declare("embed", "text-embedding", version="v2")
    (told,) = role.plan().tasks["Keep the models that are used"]
    assert "alias `embed` would embed with `v2`, and vectors of `v1` are in 7 knowledge bases: `Handbook A`, " in told
    assert "`Handbook E` and 2 more" in told
    error = role.apply().error
    assert isinstance(error, DifyVectorsChanged)
    assert "`dify.vectors_as` of the model: `v2: VERSION`" in error.remedy
    assert role.kept["vectors/embed"] == "text-embedding/embed v1"
    role.declare("embed", "text-embedding", version="v2", vectors_as={"v2": "v1"})
    assert role.plan().tasks == {}
    role.declare("embed", "text-embedding", version="v2", vectors_as={"v2": "v2"})
    assert list(role.plan().tasks) == ["Keep the marks of the keys"]
    role.apply()
    assert role.kept["vectors/embed"] == "text-embedding/embed v2"
    role.declare("embed", "text-embedding", version="v3", vectors_as={"v2": "v2"})
    assert "Keep the models that are used" in role.plan().tasks


def test_an_embedding_model_that_no_knowledge_base_uses_moves_as_it_likes(role: DifyRole) -> None:
    role.declare("embed", "text-embedding")
    role.apply()
    role.declare("embed", "text-embedding", version="v2")
    assert list(role.plan().tasks) == ["Keep the marks of the keys"]


def rolled_out(role: DifyRole, version: str, serves: list[str], **of_dify: object) -> None:
    """What a rollout asks before it fetches anything."""
    role.declare("embed", "text-embedding", version=version, **of_dify)
    role.models["text-embedding/embed"]["serve"] = {"hosts": "gpu", "port": 8000}
    fleet = role.fleet()
    site = site_of(fleet)
    refuse_new_vectors(fleet, site, site.aliases()["embed"], lambda: serves)


def test_a_rollout_of_an_embedding_alias_asks_knowledge_bases_first(role: DifyRole) -> None:
    role.declare("embed", "text-embedding")
    role.apply()
    rolled_out(role, "v2", ["v1"])
    role.world.knowledge("Handbook", "embed")
    with pytest.raises(DifyVectorsChanged, match="vectors of `v1` are in 1 knowledge base: `Handbook`"):
        rolled_out(role, "v2", ["v1", "v2"])
    role.world.requests.clear()
    rolled_out(role, "v2", ["v2"])  # to a host more
    rolled_out(role, "v2", ["v1"], vectors_as={"v2": "v1"})
    rolled_out(role, "v2", ["v1"], vectors_as={"v2": "v2"})
    assert role.world.requests == []
    role.dify["url"] = None
    rolled_out(role, "v2", ["v1"])


def test_what_hosts_serve_is_what_runs_or_would_come_up() -> None:
    def state(serves: str | None, committed: str) -> SwitchState:
        return cast(SwitchState, SimpleNamespace(serves=serves, committed=committed))

    states = {"gpu-1": state("/models/embed/v1", "/models/embed/v2"), "gpu-2": state(None, "/models/embed/v2")}
    assert served_on(states) == ["v1", "v2"]
