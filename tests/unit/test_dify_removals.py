"""What goes from Dify and what does not: users of a model are found, and what is blocked blocks nothing else."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
from dify_world import PROVIDER, World, a_world

from steelyard.dify.account import role_of_login, workspace_name
from steelyard.dify.client import DifyAccess, DifyClient
from steelyard.dify.desired_state import Credential
from steelyard.dify.reconcile import differences
from steelyard.dify.uses import named_models
from steelyard.errors import DifyLegacyTypes, DifyModelUsed, DifyRefused

MODELS = f"/workspaces/current/model-providers/{PROVIDER}/models"
NAMED = {"model": "tiny", "model_type": "llm"}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with a_world(tmp_path) as made:
        yield made


def default_llm(world: World) -> str:
    return str(world.client().get("/workspaces/current/default-model?model_type=llm")["data"]["model"])


def test_the_credential_that_a_human_switched_to_stays_in_use_when_ours_goes(world: World) -> None:
    world.converge(world.client(), world.model())
    world.by_hand("tiny")
    mine = next(credential["id"] for credential in world.entry()["credentials"] if credential["name"] == "mine")
    world.client().send("POST", f"{MODELS}/credentials/switch", {**NAMED, "credential_id": mine})
    assert world.converge(world.client()) == ["remove"]
    assert (world.entry()["current"], len(world.entry()["credentials"])) == (mine, 1)
    assert world.converge(world.client()) == []


@pytest.mark.parametrize("in_use", ["steelyard", "steelyard-second"])
def test_a_further_credential_goes_whichever_is_in_use(tmp_path: Path, in_use: str) -> None:
    with a_world(tmp_path, balancing=True) as world:
        second = Credential("steelyard-second", {**world.model().fields, "context_size": "128"})
        world.converge(world.client(), dataclasses.replace(world.model(), further=(second,)))
        ids = {credential["name"]: credential["id"] for credential in world.entry()["credentials"]}
        if in_use != "steelyard":
            world.client().send("POST", f"{MODELS}/credentials/switch", {**NAMED, "credential_id": ids[in_use]})
        switched = ["switch"] if in_use != "steelyard" else []
        assert world.converge(world.client(), world.model()) == [*switched, "balance", "remove"]
        assert world.converge(world.client(), world.model()) == []
        assert world.entry()["current"] == ids["steelyard"]


def test_every_model_in_use_is_named_and_nothing_else_waits_for_it(world: World) -> None:
    world.converge(world.client(), world.model(), world.model("other"))
    world.app("Support", "tiny")
    world.app("Sales", "other")
    wanted = world.wanted(world.model("embed", "text-embedding"))
    found = differences(world.client(), wanted)
    assert [(difference.action, str(difference.blocked or "")) for difference in found[:1]] == [("create", "")]
    blocked = [difference.blocked for difference in found[1:]]
    assert all(isinstance(error, DifyModelUsed) for error in blocked)
    assert ["app `Sales`" in str(blocked[0]), "app `Support`" in str(blocked[1])] == [True, True]


def test_many_users_are_named_as_far_as_a_line_goes_and_counted(world: World) -> None:
    world.converge(world.client(), world.model())
    for number in range(105):
        world.app(f"App {number:03}", "tiny")
    (difference,) = differences(world.client(), world.wanted())
    assert isinstance(difference.blocked, DifyModelUsed)
    assert str(difference.blocked.users).endswith("app `App 011` and 93 more")


def test_a_default_goes_to_a_declared_model_before_the_one_in_its_place_is_removed(world: World) -> None:
    world.converge(world.client(), dataclasses.replace(world.model(), default=True))
    assert world.converge(world.client(), world.model("other"), remove_used=True) == ["create", "remove"]
    assert default_llm(world) == "other"


def test_a_default_goes_to_a_humans_model_where_none_is_declared(world: World) -> None:
    world.converge(world.client(), dataclasses.replace(world.model(), default=True))
    world.by_hand("other")
    (difference,) = differences(world.client(), world.wanted(remove_used=True))
    assert difference.declared == "not declared; default llm: other"
    assert world.converge(world.client(), remove_used=True) == ["remove"]
    assert default_llm(world) == "other"


def test_a_default_that_no_other_model_can_take_over_is_told(world: World) -> None:
    world.converge(world.client(), dataclasses.replace(world.model(), default=True))
    (difference,) = differences(world.client(), world.wanted(remove_used=True))
    assert difference.declared == "not declared; it stays the default llm by name, for there is no other"
    assert world.converge(world.client(), remove_used=True) == ["remove"]


def test_models_under_the_type_names_of_an_older_release_are_not_registered_again(world: World) -> None:
    """As a database of 1.13 or before shows itself: listed and active, and no credential of that type."""
    world.converge(world.client(), world.model(), world.model("embed", "text-embedding"))
    client, look = world.client(), world.client().get

    def get(path: str) -> object:
        answer = look(path)
        if "/models/credentials?" in path:
            answer |= {"available_credentials": [], "current_credential_id": None, "current_credential_name": None}
        return answer

    client.get = get  # type: ignore[method-assign]
    world.requests.clear()
    with pytest.raises(DifyLegacyTypes, match="llm `tiny`, text-embedding `embed` without a credential"):
        differences(client, world.wanted(world.model(), world.model("embed", "text-embedding")))


@pytest.mark.parametrize("release", ["1.8.1", "1.9.2", "1.10.1", "1.16.1", "1.17.1"])
def test_the_workspaces_name_and_the_logins_role_are_read_in_every_release(tmp_path: Path, release: str) -> None:
    with a_world(tmp_path, release=release) as world:
        assert workspace_name(world.client()) == "admin's Workspace"
        assert role_of_login(world.client()) == "owner"


def test_an_admin_key_acts_as_the_owner(tmp_path: Path) -> None:
    with a_world(tmp_path, admin_key="adm-0123456789abcdef") as world:
        tenant = world.console.state["tenant"]
        client = DifyClient(DifyAccess(world.url, "", "", "adm-0123456789abcdef", tenant))
        assert (role_of_login(client), workspace_name(client)) == ("owner", "admin's Workspace")


def test_a_page_of_html_is_told_by_its_title(tmp_path: Path) -> None:
    with a_world(tmp_path, release="1.15.0") as world, pytest.raises(DifyRefused) as caught:
        world.client().get("/nope")
    assert str(caught.value).endswith("with 404: a page of HTML, `404 Not Found`")


@pytest.mark.parametrize(
    "document",
    [
        {"model": {"provider": PROVIDER, "name": "tiny"}},
        {"model_config": {"model_provider": PROVIDER, "model": "tiny", "plugin_id": "x/y"}},
        {"summary_index_setting": {"enable": True, "model_provider_name": PROVIDER, "model_name": "tiny"}},
        {"weights": {"vector_setting": {"embedding_provider_name": PROVIDER, "embedding_model_name": "tiny"}}},
        {"reranking_model": {"reranking_provider_name": PROVIDER, "reranking_model_name": "tiny"}},
        {"nodes": [{"data": {"embedding_model_provider": PROVIDER, "embedding_model": "tiny"}}]},
    ],
)
def test_a_model_is_seen_under_whatever_keys_it_is_named(document: object) -> None:
    assert (PROVIDER, "tiny") in set(named_models(document))
