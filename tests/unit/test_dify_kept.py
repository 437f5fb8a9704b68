"""What persons made in Dify with models of ours works after every removal as before, or the removal was asked for."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from dify_world import OPENAI, PROVIDER, World, a_world

from steelyard.dify.client import DifyClient
from steelyard.dify.desired_state import MODEL_TYPES
from steelyard.dify.difference import ModelDifference, mend
from steelyard.dify.reconcile import differences
from steelyard.dify.uses import default_of, read_uses
from steelyard.errors import DifyModelUsed, DifyUsersUnseen, SteelyardError

SECOND = "second@lab.example"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A Dify with models of ours, and a member beside the administrator."""
    with a_world(tmp_path) as made:
        kinds = {"tiny": "llm", "embed": "text-embedding", "sort": "rerank"}
        made.converge(made.client(), *(made.model(name, kind) for name, kind in kinds.items()))
        made.member(SECOND)
        yield made


def works(world: World) -> set[str]:
    """What persons made, as far as it works: told by the owner's eyes."""
    client = world.client()
    listed = {(entry["model"], entry["model_type"]) for entry in client.models(PROVIDER)}
    datasets = client.get("/datasets?page=1&limit=100&include_all=true")["data"]
    found = {f"knowledge {each['name']}" for each in datasets if (each["embedding_model"], "text-embedding") in listed}
    for app in [app for page in (1, 2) for app in client.get(f"/apps?page={page}&limit=100")["data"]]:
        setting = client.get(f"/apps/{app['id']}/annotation-setting")["embedding_model"]
        if setting is not None and (setting["embedding_model_name"], "text-embedding") in listed:
            found.add(f"annotations of {app['name']}")
        chosen = (app.get("model_config") or {}).get("model") or {}
        if (chosen.get("name"), "llm") in listed:
            found.add(f"app {app['name']}")
    for kind in MODEL_TYPES:
        default = default_of(client, kind)
        if default is not None and (default[1], kind) in listed:
            found.add(f"a default {kind}")
    for entry in world.console.state["models"].values():
        names = {credential["name"] for credential in entry["credentials"]} - {"steelyard"}
        found |= {f"credential {name} of {entry['model']}" for name in names}
    keys = world.console.state["provider_credentials"].get(OPENAI, {"credentials": []})["credentials"]
    return found | {f"key {credential['name']}" for credential in keys}


def mended(client: DifyClient, found: list[ModelDifference]) -> list[SteelyardError]:
    """What was not mended, and why; the rest was."""
    refused = []
    for difference in found:
        try:
            mend(client, difference)
        except SteelyardError as error:
            refused.append(error)
    return refused


def knowledge_of_another(world: World) -> None:
    world.knowledge("Handbook", "embed", by=world.console.state["members"][0]["id"])


def knowledge_of_the_owner(world: World) -> None:
    world.knowledge("Handbook", "embed")


def annotations(world: World) -> None:
    world.annotated("faq", "embed")


def annotations_of_a_chat(world: World) -> None:
    world.annotated("faq", "embed", "chat")


def annotations_of_an_agent(world: World) -> None:
    world.annotated("faq", "embed", "agent-chat")


def an_app(world: World) -> None:
    world.app("Support", "tiny")


def a_default(world: World) -> None:
    setting = {"model_type": "llm", "provider": PROVIDER, "model": "tiny"}
    world.client().send("POST", "/workspaces/current/default-model", {"model_settings": [setting]})


def a_hundred_and_one_apps(world: World) -> None:
    world.app("Support", "tiny")
    for number in range(100):
        world.console.state["apps"][f"{number:08}-0000-4000-8000-000000000000"] = {
            **next(iter(world.console.state["apps"].values())),
            "id": f"{number:08}-0000-4000-8000-000000000000",
            "name": f"empty {number}",
            "model_config": None,
            "mode": "workflow",
            "at": 2**40,
        }


def a_credential(world: World) -> None:
    world.by_hand("tiny")


MADE: dict[Callable[[World], None], tuple[str, str]] = {
    knowledge_of_another: ("embed", "knowledge `Handbook`"),
    knowledge_of_the_owner: ("embed", "knowledge `Handbook`"),
    annotations: ("embed", "app `faq`"),
    annotations_of_a_chat: ("embed", "app `faq`"),
    annotations_of_an_agent: ("embed", "app `faq`"),
    an_app: ("tiny", "app `Support`"),
    a_default: ("tiny", "default llm"),
    a_hundred_and_one_apps: ("tiny", "app `Support`"),
    a_credential: ("tiny", ""),
}


CASES = [
    pytest.param(made, email, prune, id=f"{made.__name__}-{role}-{'pruned' if prune else 'removed'}")
    for made in MADE
    for email, role in {"admin@lab.example": "owner", SECOND: "administrator"}.items()
    for prune in (False, True)
    if not (prune and made is a_credential)  # that is what prune is for
]


@pytest.mark.parametrize(("made", "email", "prune"), CASES)
def test_nothing_of_a_persons_stops_working_with_a_removal(
    world: World, made: Callable[[World], None], email: str, prune: bool, record_property: Callable[[str, object], None]
) -> None:
    made(world)
    before = works(world)
    assert before
    client = world.client(email=email)
    refused = mended(client, differences(client, world.wanted(prune=prune)))
    lost = before - works(world)
    record_property("human_data_lost", len(lost))
    assert lost == set()
    model, user = MADE[made]
    kinds = {error.model: type(error) for error in refused if isinstance(error, DifyModelUsed | DifyUsersUnseen)}
    if user and (email != SECOND or made is not knowledge_of_the_owner):
        assert kinds[model] is DifyModelUsed
        assert user in next(str(error) for error in refused if getattr(error, "model", "") == model)
    if email == SECOND:  # an administrator is never shown all knowledge bases
        assert kinds["embed"] in (DifyUsersUnseen, DifyModelUsed)
        assert kinds["sort"] is DifyUsersUnseen
    left = {entry["model"] for entry in world.client().models(PROVIDER)}
    assert left == {*kinds, *(("tiny",) if made is a_credential else ())}


def test_an_administrator_is_told_what_only_an_owner_sees(world: World) -> None:
    client = world.client(email=SECOND)
    blocked = [difference.blocked for difference in differences(client, world.wanted()) if difference.blocked]
    assert [str(error).split(": ", 1)[1] for error in blocked] == [
        f"model `{name}` is not declared any more, and `{SECOND}` (admin) cannot see all that may use it: "
        "knowledge bases that other members keep to themselves"
        for name in ("embed", "sort")
    ]
    removed = mended(client, differences(client, world.wanted(remove_used=True)))
    assert removed == []
    assert world.client().models(PROVIDER) == []


def test_a_plan_of_an_administrator_says_of_an_llm_what_was_not_looked_at(world: World) -> None:
    client = world.client(email=SECOND)
    removal = next(found for found in differences(client, world.wanted()) if found.model == ("tiny", "llm"))
    assert removal.live.endswith("; not looked at for users: knowledge bases that other members keep to themselves")


def test_a_default_moves_with_a_model_that_goes_by_force(world: World) -> None:
    a_default(world)
    world.by_hand("other")
    before = works(world)
    kept = [
        dataclasses.replace(world.model(name, kind)) for name, kind in (("embed", "text-embedding"), ("sort", "rerank"))
    ]
    world.converge(world.client(), *kept, remove_used=True)
    assert before - works(world) == set()
    assert default_of(world.client(), "llm") == (PROVIDER, "other")


class Elsewhere(DifyClient):
    """A Dify with an agent, a snippet and a knowledge pipeline, which the double does not imitate: paths and shapes as
    in the source of 1.16.1.
    """

    def get(self, path: str) -> object:
        graph = {"graph": {"nodes": [{"data": {"model": {"provider": PROVIDER, "name": "tiny"}}}]}}
        soul = {"agent_soul": {"model": {"plugin_id": "x", "model_provider": PROVIDER, "model": "tiny"}}}
        answers = {
            "/agent?": {"data": [{"id": "a1", "name": "Clerk"}], "has_more": False},
            "/agent/a1/composer": soul,
            "/workspaces/current/customized-snippets?": {"data": [{"id": "s1", "name": "Greet"}], "has_more": False},
            "/snippets/s1/workflows/draft": graph,
            "/rag/pipelines/p1/workflows/publish": graph,
        }
        known = next((answer for begin, answer in answers.items() if path.startswith(begin)), None)
        answer = super().get(path) if known is None else known
        if path.startswith("/datasets?"):
            answer["data"] = [{**entry, "pipeline_id": "p1"} for entry in answer["data"]]
        return answer


def test_agents_snippets_and_knowledge_pipelines_are_users_too(world: World) -> None:
    world.knowledge("Piped", "embed")
    uses = read_uses(Elsewhere(world.client().access))
    assert uses.of(PROVIDER, "tiny", "llm") == ["agent `Clerk`", "knowledge `Piped`", "snippet `Greet`"]
    assert uses.unseen == ()


def test_a_newer_release_may_keep_agents_and_snippets_elsewhere(tmp_path: Path) -> None:
    with a_world(tmp_path, release="1.19.0") as world:
        assert read_uses(world.client()).unseen == ("snippets", "agents")
