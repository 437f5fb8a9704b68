"""The role `dify` as a whole: what is blocked blocks nothing else, and marks outlive the password."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from dify_role import DifyRole
from dify_world import OPENAI, PASSWORD, PROVIDER, World, a_world, package, writes

from steelyard.errors import DifyModelUsed, DifyPluginKept


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
