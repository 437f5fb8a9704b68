"""Registration against the double, over real HTTP: created once, then nothing; every change by hand found and
mended.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from dify_world import KEY, PROVIDER, World, a_world, writes

from dify_double.credential_forms import OPENAI_COMPATIBLE
from steelyard.dify import ready
from steelyard.dify.client import DifyAccess, DifyClient
from steelyard.dify.desired_state import Credential, DesiredModel
from steelyard.dify.reconcile import differences, masked, models_by_hand
from steelyard.errors import (
    DifyFieldWrong,
    DifyLoginRefused,
    DifyModelUsed,
    DifyPluginMissing,
    DifyRefused,
    DifyTooOld,
    DifyUnreachable,
    EndpointNotReady,
    SteelyardError,
)

MODELS = f"/workspaces/current/model-providers/{PROVIDER}/models"
NAMED = {"model": "tiny", "model_type": "llm"}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with a_world(tmp_path) as made:
        yield made


def test_model_is_created_once_and_the_second_run_writes_nothing(
    world: World, record_property: Callable[[str, object], None]
) -> None:
    assert world.converge(world.client(), world.model()) == ["create"]
    world.requests.clear()
    client = world.client()
    assert world.converge(client, world.model()) == []
    record_property("second_run_writes", len(writes(world.requests)))
    assert writes(world.requests) == []
    assert (client.logins, client.writes) == (1, 0)
    assert len(world.requests) == 5  # version, login, providers, models, credentials, and nothing else


def every_kind(world: World) -> list[DesiredModel]:
    kinds = {"tiny": "llm", "embed": "text-embedding", "sort": "rerank", "hear": "speech2text", "speak": "tts"}
    return [dataclasses.replace(world.model(name, kind), default=kind != "tts") for name, kind in kinds.items()]


def test_every_type_of_model_is_registered_and_the_default_of_its_type(world: World) -> None:
    assert sorted(world.converge(world.client(), *every_kind(world))) == ["create"] * 5 + ["default"] * 4
    world.requests.clear()
    assert world.converge(world.client(), *every_kind(world)) == []
    assert writes(world.requests) == []
    assert {kind: chosen["model"] for kind, chosen in world.console.state["defaults"].items()} == {
        "llm": "tiny",
        "text-embedding": "embed",
        "rerank": "sort",
        "speech2text": "hear",
    }


FIELDS = [(name, options) for name, kind, _, _, options, of in OPENAI_COMPATIBLE if of in (None, "llm")]


@pytest.mark.parametrize(("field", "options"), FIELDS, ids=[name for name, _ in FIELDS])
def test_every_field_of_the_form_that_a_human_changes_is_found_and_mended(
    world: World, field: str, options: tuple[str, ...], record_property: Callable[[str, object], None]
) -> None:
    """Declared fields and those left to their default alike."""
    world.converge(world.client(), world.model())
    before = world.values().get(field)
    other = next((option for option in options if option != before), None) or (
        "9" if (before or "").isdigit() else "another-1"
    )
    world.values()[field] = other
    record_property("manual_changes_injected", 1)
    found = differences(world.client(), world.wanted(world.model()))
    assert [(difference.action, field in difference.declared) for difference in found] == [("update", True)]
    assert other not in found[0].live or field != "api_key"
    record_property("manual_changes_found", 1)
    assert world.converge(world.client(), world.model()) == ["update"]
    assert world.values().get(field) == before
    assert world.converge(world.client(), world.model()) == []


def test_a_declared_field_that_is_gone_is_found_and_a_default_that_was_never_stored_is_none(world: World) -> None:
    world.converge(world.client(), world.model())
    del world.values()["display_name"]
    assert world.converge(world.client(), world.model()) == ["update"]
    del world.values()["token_param_name"]
    assert world.converge(world.client(), world.model()) == []


def send(world: World, method: str, path: str, body: dict[str, object]) -> None:
    world.client().send(method, MODELS + path, body)


def disable(world: World) -> None:
    send(world, "PATCH", "/disable", dict(NAMED))


def delete_model(world: World) -> None:
    send(world, "DELETE", "", dict(NAMED))


def delete_credential(world: World) -> None:
    send(world, "DELETE", "/credentials", {**NAMED, "credential_id": world.entry()["current"]})


def use_another(world: World) -> None:
    world.by_hand("tiny")
    other = next(c["id"] for c in world.entry()["credentials"] if c["name"] == "mine")
    send(world, "POST", "/credentials/switch", {**NAMED, "credential_id": other})


def delete_the_one_in_use_of_two(world: World) -> None:
    world.by_hand("tiny")
    delete_credential(world)


def rename_credential(world: World) -> None:
    body = {**NAMED, "credential_id": world.entry()["current"], "name": "renamed", "credentials": world.values()}
    send(world, "PUT", "/credentials", body)


def balance(world: World) -> None:
    world.balance("tiny")


def other_default(world: World) -> None:
    world.by_hand("other")
    setting = {"model_type": "llm", "provider": PROVIDER, "model": "other"}
    world.client().send("POST", "/workspaces/current/default-model", {"model_settings": [setting]})


def key_with_the_same_ends(world: World) -> None:
    """Set over our API by an older declaration: the mask is the same, the mark is not."""
    world.kept = dict.fromkeys(world.kept, "0" * 64)


BY_HAND: dict[Callable[[World], None], list[str]] = {
    disable: ["enable"],
    delete_model: ["switch"],
    delete_credential: ["create"],
    use_another: ["switch"],
    delete_the_one_in_use_of_two: ["create", "switch"],
    rename_credential: ["create", "switch"],
    balance: ["balance"],
    other_default: ["default"],
    key_with_the_same_ends: ["update"],
}


@pytest.mark.parametrize(("change", "actions"), BY_HAND.items(), ids=[change.__name__ for change in BY_HAND])
def test_what_a_human_does_beside_the_fields_is_found_and_mended(
    world: World, change: Callable[[World], None], actions: list[str], record_property: Callable[[str, object], None]
) -> None:
    model = dataclasses.replace(world.model(), default=True)
    world.converge(world.client(), model)
    change(world)
    record_property("manual_changes_injected", 1)
    assert world.converge(world.client(), model) == actions
    record_property("manual_changes_found", 1)
    assert world.converge(world.client(), model) == []


def test_a_model_declared_as_disabled_is_disabled(world: World) -> None:
    off = dataclasses.replace(world.model(), enabled=False)
    assert world.converge(world.client(), off) == ["create", "disable"]
    assert world.converge(world.client(), off) == []


def test_what_is_declared_no_more_goes_and_another_credential_is_switched_to_first(world: World) -> None:
    world.converge(world.client(), world.model(), world.model("embed", "text-embedding"))
    world.by_hand("tiny")
    assert world.converge(world.client()) == ["remove", "remove"]
    assert [c["name"] for c in world.entry()["credentials"]] == ["mine"]
    assert world.entry()["current"] == world.entry()["credentials"][0]["id"]
    assert world.entry("embed")["credentials"] == []
    assert world.converge(world.client()) == []


def a_workflow(world: World) -> dict[str, object]:
    node = {"data": {"type": "llm", "model": {"provider": PROVIDER, "name": "tiny"}}}
    return {
        "id": "0" * 8 + "-0000-4000-8000-" + "0" * 12,
        "name": "Flow",
        "mode": "workflow",
        "workflows": {"draft": {"graph": {"nodes": [node]}}},
    }


def a_chat(world: World) -> dict[str, object]:
    return {
        "id": "1" * 8 + "-0000-4000-8000-" + "0" * 12,
        "name": "Chat",
        "mode": "chat",
        "model_config": {"model": {"provider": "openai_api_compatible", "name": "tiny"}},
    }


@pytest.mark.parametrize("app", [a_workflow, a_chat])
def test_a_model_that_an_app_uses_is_not_removed_unless_told(
    world: World, app: Callable[[World], dict[str, object]]
) -> None:
    world.converge(world.client(), world.model())
    made = app(world)
    world.console.state["apps"][made["id"]] = made
    with pytest.raises(DifyModelUsed, match=f"app `{made['name']}`"):
        world.converge(world.client())
    assert len(world.entry()["credentials"]) == 1
    assert world.converge(world.client(), remove_used=True) == ["remove"]


def test_a_model_of_a_knowledge_base_is_not_removed(world: World) -> None:
    world.converge(world.client(), world.model("embed", "text-embedding"))
    world.console.state["datasets"]["d"] = {
        "id": "d",
        "name": "Handbook",
        "embedding_model": "embed",
        "embedding_model_provider": PROVIDER,
    }
    with pytest.raises(DifyModelUsed, match="knowledge `Handbook`"):
        world.converge(world.client())


def test_the_default_is_not_removed_and_goes_when_another_is_declared_the_default(world: World) -> None:
    world.converge(world.client(), dataclasses.replace(world.model(), default=True))
    with pytest.raises(DifyModelUsed, match="default llm"):
        world.converge(world.client())
    other = dataclasses.replace(world.model("other"), default=True)
    assert world.converge(world.client(), other) == ["create", "default", "remove"]


def test_models_of_a_humans_making_are_told_and_stay_unless_pruned(world: World) -> None:
    world.by_hand("other")
    before = json.dumps(world.console.state["models"])
    assert differences(world.client(), world.wanted()) == []
    assert models_by_hand(world.client(), world.wanted()) == ["llm other"]
    assert json.dumps(world.console.state["models"]) == before
    assert world.converge(world.client(), prune=True) == ["prune"]
    assert world.entry("other")["credentials"] == []


def test_wrong_password_is_tried_once_in_a_whole_run(world: World) -> None:
    client = world.client("wrong-passw0rd")
    for _ in range(3):
        with pytest.raises(DifyLoginRefused, match="tried once"):
            differences(client, world.wanted(world.model()))
    assert [line for line in world.requests if line.endswith("/login")] == ["POST /console/api/login"]
    assert world.console.state["tries"] == {"admin@lab.example": 1}


@pytest.mark.parametrize("release", ["1.8.1", "1.9.2", "1.10.1", "1.11.2", "1.16.1", "1.17.1"])
def test_each_release_is_spoken_to_in_its_own_way_and_no_password_is_tried_twice(tmp_path: Path, release: str) -> None:
    with a_world(tmp_path, release=release) as world:
        assert world.converge(world.client(), world.model()) == ["create"]
        assert world.converge(world.client(), world.model()) == []
        assert world.console.state["tries"] == {}


def test_a_dify_without_named_credentials_is_refused_before_a_login(tmp_path: Path) -> None:
    with a_world(tmp_path, release="1.7.2") as world, pytest.raises(DifyTooOld, match=r"1\.7\.2"):
        world.converge(world.client(), world.model())
    assert not [line for line in world.requests if "login" in line]


@pytest.mark.parametrize("release", ["1.8.1", "1.16.1"])
def test_a_token_that_ran_out_is_renewed_without_the_password(tmp_path: Path, release: str) -> None:
    with a_world(tmp_path, release=release) as world:
        client = world.client()
        client.get("/account/profile")
        world.console.state["sessions"].clear()
        client.get("/account/profile")
        assert client.logins == 1
        assert len([line for line in world.requests if line.endswith("/refresh-token")]) == 1


def test_dify_down_is_told(world: World) -> None:
    client = DifyClient(DifyAccess("http://127.0.0.1:9", "a", "b"))
    with pytest.raises(DifyUnreachable, match="connection refused"):
        differences(client, world.wanted(world.model()))


def test_plugin_missing_is_told(world: World) -> None:
    world.console.state["plugins"].clear()
    with pytest.raises(DifyPluginMissing):
        differences(world.client(), world.wanted(world.model()))


def refusal(world: World, wanted: DesiredModel) -> SteelyardError:
    with pytest.raises(SteelyardError) as caught:
        world.converge(world.client(), wanted)
    assert writes(world.requests) == []
    return caught.value


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"mdoe": "chat"}, "field `mdoe` is not in the form; allowed: .*did you mean `mode`"),
        ({"function_calling_type": "tools"}, "is `tools`; allowed: function_call, tool_call, no_call"),
        ({"context_size": ""}, "field `context_size` is not set"),
    ],
)
def test_a_declaration_that_the_live_form_does_not_take_is_refused_before_anything_is_posted(
    world: World, fields: dict[str, str], told: str
) -> None:
    error = refusal(world, world.model(**fields))
    assert isinstance(error, DifyFieldWrong)
    with pytest.raises(DifyFieldWrong, match=told):
        raise error


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ready.require_answer, "__defaults__", (0.0,))


@pytest.mark.usefixtures("_impatient")
def test_dead_endpoint_is_not_registered(world: World) -> None:
    error = refusal(world, world.model(endpoint_url="http://127.0.0.1:9/v1"))
    assert isinstance(error, EndpointNotReady)
    assert "connection refused" in str(error)


@pytest.mark.usefixtures("_impatient")
def test_wrong_key_is_not_registered(world: World) -> None:
    assert isinstance(refusal(world, world.model(api_key="wrong")), EndpointNotReady)


def test_dify_refuses_a_wrong_key_with_its_own_400(world: World) -> None:
    body = {**NAMED, "name": "x", "credentials": world.model(api_key="wrong").fields}
    with pytest.raises(DifyRefused, match="400: Credentials validation failed with status code 401"):
        world.client().send("POST", f"{MODELS}/credentials", body)


def test_key_is_compared_by_its_mask() -> None:
    assert masked("sk-fake-vllm") == "sk-fak************lm"
    assert masked("short") == "*" * 20


def test_texts_of_values_with_secrets_hold_no_secret(world: World) -> None:
    access = DifyAccess("http://x", "a", "topsecret", "godkey")
    assert "topsecret" not in repr(access)
    assert "godkey" not in repr(access)
    model = dataclasses.replace(world.model(), further=(Credential("two", world.model().fields),))
    assert KEY not in repr(world.wanted(model)) + repr(differences(world.client(), world.wanted(model)))
