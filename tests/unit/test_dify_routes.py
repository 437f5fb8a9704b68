"""Every route of Dify that the product calls was recorded from the real one: what it answers, and how it refuses."""

from __future__ import annotations

import ast
import hashlib
import json
import re
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from dify_recordings import FIRST, SECOND, is_recorded, recorded_routes
from dify_world import PLUGIN, PROVIDER, World, a_world

from dify_double import plugins
from dify_double.not_imitated import NOT_RECORDED
from dify_double.router import Console, fresh_state
from steelyard.dify.account import Administrator, is_set_up, name_workspace, set_up, workspace_name
from steelyard.dify.plugins import install, plugin_differences, read_package
from steelyard.dify.proof import prove
from steelyard.dify.uses import read_uses

ROOT = Path(__file__).parent.parent.parent
ELSEWHERE = ("ready.py",)  # asks the models' endpoint, not Dify
# routes of which no refusal was recorded, and why: most have none of their own
NO_REFUSAL = {
    "GET /console/api/datasets": "a list; a big limit is taken (225)",
    "GET /console/api/datasets/api-keys": "a list",
    "GET /console/api/init": "tells a state",
    "GET /console/api/setup": "tells a state",
    "GET /console/api/workspaces/current/members": "a list; administrators may read it too (208)",
    "GET /console/api/workspaces/current/model-providers": "a list",
    "GET /console/api/workspaces/current/model-providers/{provider}/models": "an unknown provider has none (77)",
    "GET /console/api/workspaces/current/plugin/list": "a list",
    "POST /console/api/apps/{app}/api-enable": "an unknown app is refused as by its other routes (326)",
    "GET /console/api/apps/{app}/api-keys": "an unknown app is refused as by its other routes (139)",
    "GET /console/api/apps/{app}/workflows/publish": "null where nothing is published (152)",
    "POST /console/api/workspaces/current": "tells a state",
    "POST /console/api/workspaces/info": "takes any name",
    "POST /console/api/workspaces/current/plugin/list/installations/ids": "leaves unknown ones out (039)",
    "POST /console/api/workspaces/current/plugin/install/github": "refuses as an install of a package does (028, 029)",
    "POST /console/api/workspaces/current/plugin/upload/pkg": "what is no package was not sent",
    "DELETE /console/api/workspaces/current/model-providers/{provider}/models": "204 for an unknown one too (103)",
    "PATCH /console/api/workspaces/current/model-providers/{provider}/models/disable": "200 for an unknown one (101)",
    "PATCH /console/api/workspaces/current/model-providers/{provider}/models/enable": "200, as to disable it (101)",
    "POST /console/api/refresh-token": "a token that is none is refused by the login that follows (14)",
}


def test_every_route_of_the_double_was_recorded() -> None:
    console = Console(fresh_state(), lambda *_: None)
    routes = {(f"{route.method} /console/api", route.path) for route in console.routes}
    routes |= {(f"{route.method} /v1", route.path) for route in console.service.routes}
    named = {prefix + re.sub(r":[a-z]+\}", "}", path) for prefix, path in routes}
    assert named - recorded_routes().keys() == set()


def literals(path: Path) -> set[str]:
    """Paths that a module writes down, `\\0` where a value goes in; constants of the module are filled in."""
    tree = ast.parse(path.read_text())
    constants: dict[str, str] = {}
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=str(text))):
                constants[name] = text
    texts = set()
    inner = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inner:
            texts.add(node.value)
        elif isinstance(node, ast.JoinedStr):
            texts.add("".join(filled(part, constants) for part in node.values))
    return {text for text in texts if text.startswith("/") and " " not in text}


def filled(part: ast.expr, constants: dict[str, str]) -> str:
    if isinstance(part, ast.Constant):
        return str(part.value)
    assert isinstance(part, ast.FormattedValue)
    return constants.get(part.value.id, "\0") if isinstance(part.value, ast.Name) else "\0"


MODULES = [
    path
    for path in (*sorted((ROOT / "src/steelyard/dify").glob("*.py")), ROOT / "modules/operations/dify.py")
    if path.name not in ELSEWHERE and literals(path)
]


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
def test_every_path_that_the_product_writes_down_was_asked_of_the_real_one(module: Path) -> None:
    asked = set()
    for path in (*FIRST, *SECOND):
        request = json.loads(path.read_text())["request"]
        asked.add(re.sub(r"^/(console/api|v1)", "", request["path"].split("?")[0]))
    for text in literals(module):
        pattern = re.compile(re.escape(text.split("?")[0]).replace("\0", ".+") + "(/.*)?")
        known = [*asked, *(pattern.replace("*", "x") for pattern in NOT_RECORDED)]
        assert any(pattern.fullmatch(path) for path in known), text


@pytest.mark.parametrize("pattern", NOT_RECORDED)
def test_what_the_table_calls_unrecorded_is_no_route_of_the_double(pattern: str) -> None:
    console = Console(fresh_state(), lambda *_: None)
    for method in ("GET", "POST"):
        assert console.route_of(method, "/console/api" + pattern.replace("*", "x")) is None


def test_the_modules_whose_paths_are_held_to_the_recordings_are_those_that_talk_to_dify() -> None:
    assert {"account.py", "client.py", "plugins.py", "proof.py", "reconcile.py", "uses.py"} <= {
        path.name for path in MODULES
    }


def package(folder: Path, version: str) -> tuple[str, str]:
    """Path and hash of a plugin's package."""
    author, name = PLUGIN.split("/")
    path = folder / f"{name}-{version}.difypkg"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("manifest.yaml", f"version: {version}\nauthor: {author}\nname: {name}\ntype: plugin\n")
    return str(path), hashlib.sha256(path.read_bytes()).hexdigest()


def whole_life(world: World, folder: Path) -> None:
    """What the product asks of a Dify: setup, plugin, another version of it, models, checks, uses, removal."""
    world.console.state["admin"] = None
    client = world.client()
    assert not is_set_up(client)
    set_up(client, Administrator("admin@lab.example", "Admin", client.access.password))
    name_workspace(client, "Lab")
    assert workspace_name(client) == "Lab"
    for version in ("0.0.63", "0.0.64"):
        for difference in plugin_differences(client, (read_package(*package(folder, version)),), {}):
            install(client, difference)
    kinds = {"tiny": "llm", "embed": "text-embedding", "sort": "rerank", "speak": "tts", "hear": "speech2text"}
    models = [world.model(name, kind) for name, kind in kinds.items()]
    world.converge(client, *(replace(model, default=model.type in ("tts", "speech2text")) for model in models))
    assert {proof.result for proof in prove(client, PROVIDER, client.models(PROVIDER))} == {"answered"}
    read_uses(client)
    world.by_hand("tiny")
    world.converge(client, *models[1:])


def test_every_route_that_the_product_calls_was_recorded_also_refusing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugins, "INSTALL_S", 0.1)
    monkeypatch.setattr("steelyard.dify.plugins.POLL_S", 0.05)
    with a_world(tmp_path) as world:
        world.console.state["plugins"].clear()
        whole_life(world, tmp_path)
        called = {tuple(line.split(" ")) for line in world.requests}
        assert {call for call in called if not is_recorded(world.console, *call)} == set()
        routes = {world.console.route_of(*call) for call in called} - {None}  # None: one of those in the table
    assert len(routes) > 25
    unrefused = {route for route in routes if max(recorded_routes()[str(route)]) < 400}
    assert unrefused - NO_REFUSAL.keys() == set()
    assert [route for route in NO_REFUSAL if max(recorded_routes()[route]) >= 400] == []
