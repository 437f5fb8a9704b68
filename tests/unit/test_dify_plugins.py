"""First-run setup, plugins by hash and the end-to-end proof, against the double over real HTTP."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from dify_world import PASSWORD, PLUGIN, PROVIDER, World, a_world, package, writes

from dify_double import plugins
from steelyard.dify.account import Administrator, is_set_up, name_workspace, set_up, workspace_name
from steelyard.dify.client import DifyAccess, DifyClient
from steelyard.dify.plugin_package import Package, read_package
from steelyard.dify.plugins import install, plugin_differences
from steelyard.dify.proof import prove
from steelyard.errors import DifyPluginWrong, DifyRefused


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(plugins, "INSTALL_S", 0.2)
    monkeypatch.setattr("steelyard.dify.plugins.POLL_S", 0.1)
    with a_world(tmp_path) as made:
        yield made


def converge(world: World, *packages: Package) -> list[str]:
    """What was not as declared; the marks are kept as the role keeps them."""
    client = world.client()
    found = plugin_differences(client, packages, world.kept)
    for difference in found:
        install(client, difference)
    world.kept |= {each.mark: each.sha256 for each in packages}
    return [difference.live for difference in found]


def test_a_plugin_is_installed_once_and_another_version_replaces_it(world: World, tmp_path: Path) -> None:
    world.console.state["plugins"].clear()
    assert converge(world, package(tmp_path)) == ["not installed"]
    world.requests.clear()
    assert converge(world, package(tmp_path)) == []
    assert writes(world.requests) == []
    world.converge(world.client(), world.model())
    assert converge(world, package(tmp_path, "0.0.64")) == ["0.0.63"]
    assert converge(world, package(tmp_path, "0.0.64")) == []
    assert world.converge(world.client(), world.model()) == []  # models outlive it


def test_another_package_of_the_same_version_replaces_it_too(world: World, tmp_path: Path) -> None:
    world.console.state["plugins"].clear()
    converge(world, package(tmp_path))
    first = world.console.state["plugins"][PLUGIN]["unique"]
    assert converge(world, package(tmp_path, readme="signed anew")) == ["0.0.63 from another package"]
    assert world.console.state["plugins"][PLUGIN]["unique"] != first
    assert converge(world, package(tmp_path, readme="signed anew")) == []
    world.kept.clear()  # as after a restore: what is there is taken as it is
    assert converge(world, package(tmp_path)) == []


def test_a_plugin_that_a_human_uninstalled_comes_back_with_its_models(world: World, tmp_path: Path) -> None:
    world.converge(world.client(), world.model())
    installed = world.console.state["plugins"][PLUGIN]["id"]
    path = "/workspaces/current/plugin/uninstall"
    world.client().send("POST", path, {"plugin_installation_id": installed})
    assert converge(world, package(tmp_path)) == ["not installed"]
    assert world.converge(world.client(), world.model()) == []


@pytest.mark.parametrize("harm", ["gone", "other", "text"])
def test_a_package_that_is_not_the_declared_one_is_refused_before_any_request(
    world: World, tmp_path: Path, harm: str
) -> None:
    made = package(tmp_path)
    path, sha256 = Path(made.path), made.sha256
    if harm == "gone":
        path.unlink()
    else:
        path.write_bytes(b"no archive")
        sha256 = hashlib.sha256(b"no archive").hexdigest() if harm == "text" else sha256
    told = {"gone": "cannot be read", "other": "another hash", "text": "no plugin package"}[harm]
    with pytest.raises(DifyPluginWrong, match=told):
        read_package(str(path), sha256)
    assert world.requests == []


def test_a_fresh_dify_gets_its_administrator_and_its_name_once(world: World) -> None:
    world.console.state["admin"] = None
    world.console.account.init_password = "init-passw0rd"
    admin = Administrator("ops@example.org", "ops", PASSWORD, init_password="init-passw0rd")
    client = DifyClient(DifyAccess(world.url, admin.email, PASSWORD))
    assert not is_set_up(client)
    set_up(client, admin)
    assert is_set_up(client)
    assert workspace_name(client) == "ops's Workspace"
    name_workspace(client, "Models")
    assert workspace_name(client) == "Models"
    with pytest.raises(DifyRefused, match="403"):
        set_up(client, admin)


def test_a_wrong_init_password_makes_nobody_an_administrator(world: World) -> None:
    world.console.state["admin"] = None
    world.console.account.init_password = "init-passw0rd"
    with pytest.raises(DifyRefused, match="401"):
        set_up(world.client(), Administrator("ops@example.org", "ops", PASSWORD, init_password="wrong"))
    assert world.console.state["admin"] is None


def test_each_model_answers_through_the_service_api_and_nothing_is_left(world: World) -> None:
    kinds = {"tiny": "llm", "embed": "text-embedding", "sort": "rerank", "speak": "tts", "hear": "speech2text"}
    models = [world.model(name, kind) for name, kind in kinds.items()]
    world.converge(world.client(), *(replace(model, default=model.type in ("tts", "speech2text")) for model in models))
    client = world.client()
    found = {proof.model: proof.result for proof in prove(client, PROVIDER, client.models(PROVIDER))}
    assert found == {
        "tiny": "answered",
        "embed": "answered",
        "sort": "answered",
        "speak": "answered",
        "hear": "answered",
    }
    assert (world.console.state["apps"], world.console.state["datasets"], world.console.state["keys"]) == ({}, {}, {})


def test_a_speech_model_is_asked_where_it_is_the_default_and_an_app_can_be_made(world: World) -> None:
    world.converge(world.client(), world.model("speak", "tts"))
    client = world.client()
    (proof,) = prove(client, PROVIDER, client.models(PROVIDER))
    assert (proof.result, proof.why) == ("not asked", "its app needs an llm too")
    world.converge(client, world.model(), world.model("speak", "tts"))
    speech = next(each for each in prove(client, PROVIDER, client.models(PROVIDER)) if each.type == "tts")
    assert (speech.result, speech.why) == ("not asked", "apps use the default one only")


def test_a_speech_model_that_is_gone_fails_the_proof(world: World) -> None:
    hears = replace(world.model("hear", "speech2text"), default=True)
    world.converge(world.client(), world.model(), hears)
    world.values("hear")["endpoint_url"] = "http://127.0.0.1:9/v1"
    client = world.client()
    found = {proof.model: proof for proof in prove(client, PROVIDER, client.models(PROVIDER))}
    assert {name: proof.result for name, proof in found.items()} == {"tiny": "answered", "hear": "failed"}
    assert "refused" in found["hear"].why
    assert world.console.state["apps"] == {}


def test_a_model_whose_endpoint_is_gone_fails_the_proof_and_nothing_is_left(world: World) -> None:
    world.converge(world.client(), world.model(), world.model("embed", "text-embedding"))
    for name in ("tiny", "embed"):
        world.values(name)["endpoint_url"] = "http://127.0.0.1:9/v1"
    client = world.client()
    found = list(prove(client, PROVIDER, client.models(PROVIDER)))
    assert [proof.result for proof in found] == ["failed", "failed"]
    assert all("refused" in proof.why for proof in found)
    assert (world.console.state["apps"], world.console.state["datasets"], world.console.state["keys"]) == ({}, {}, {})
