"""Rules of the simulated Dify beside the replay: releases, daemons, what a restart keeps, what goes over the line."""

from __future__ import annotations

import base64
import http.client
import json
import re
import urllib.parse
from collections.abc import Iterator
from typing import Any

import pytest
from dify_recordings import FIRST, KEY, SECOND, endpoint
from dify_world import PASSWORD, PLUGIN, PROVIDER, served

from dify_double import plugins
from dify_double.__main__ import handled, handler_of
from dify_double.canned_answers import VERSION
from dify_double.credential_forms import PROVIDERS
from dify_double.packages import identifier
from dify_double.postgres_state import _crypted
from dify_double.router import Console, fresh_state
from dify_double.upstream import ask

EMAIL, OPENAI = "ops@example.org", "langgenius/openai/openai"
PLUGINS = "/console/api/workspaces/current/plugin"
MODELS = f"/console/api/workspaces/current/model-providers/{PROVIDER}/models"
SWITCHED_OFF = {"load_balancing": {"enabled": False, "configs": []}}


class Desk:
    """A console with its owner logged in, a clock that stands still, and the plugins of two providers."""

    def __init__(self, port: int = 9, **more: Any) -> None:
        self.now, self.port = 1_800_000_000.0, port
        self.console = Console(fresh_state(), ask, clock=lambda: self.now, **more)
        self.console.account.create_admin(EMAIL, "ops", PASSWORD)
        self.console.preinstall(PROVIDER)
        self.console.preinstall(OPENAI)
        self.headers = self.login(EMAIL)

    def login(self, email: str, password: str = PASSWORD) -> dict[str, str]:
        body = {"email": email, "password": base64.b64encode(password.encode()).decode()}
        _, cookies, _ = self.console.handle("POST", "/console/api/login", {}, body)
        pairs = [cookie.split(";")[0] for cookie in cookies]
        csrf = next((pair.partition("=")[2] for pair in pairs if pair.startswith("csrf_token")), "")
        return {"Cookie": "; ".join(pairs), "X-CSRF-Token": csrf}

    def ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> tuple[int, Any]:
        status, _, answer = self.console.handle(method, path, self.headers if headers is None else headers, body)
        return status, answer

    def register(self, name: str, kind: str, model: str) -> None:
        fields = {"endpoint_url": f"http://127.0.0.1:{self.port}/v1", "api_key": KEY, "endpoint_model_name": model}
        fields |= {"context_size": "256", "max_chunks": "1"}
        body = {"model": name, "model_type": kind, "name": "steelyard", "credentials": fields}
        assert self.ask("POST", f"{MODELS}/credentials", body)[0] == 201


@pytest.fixture
def desk() -> Desk:
    return Desk()


def upgrade(desk: Desk, original: str, new: str) -> tuple[int, Any]:
    body = {"original_plugin_unique_identifier": original, "new_plugin_unique_identifier": new}
    of_github = {"repo": "example/plugin", "version": "0.0.64", "package": "plugin.difypkg"}
    return desk.ask("POST", f"{PLUGINS}/upgrade/github", {**body, **of_github})


@pytest.mark.parametrize(
    ("release", "daemon", "status"),
    [
        (VERSION, "", 500),
        (VERSION, "0.6.6", 200),
        (VERSION, "0.6.5", 500),
        ("1.17.0", "", 200),
        ("1.17.0", "0.6.3", 500),
    ],
)
def test_whether_a_package_is_upgraded_by_github_is_the_daemon_s_to_say(release: str, daemon: str, status: int) -> None:
    desk = Desk(release=release, daemon=daemon)
    newer = identifier(PROVIDER, "0.0.64")
    desk.console.state["packages"].append(newer)
    before = dict(desk.console.state["plugins"][PLUGIN])
    assert upgrade(desk, before["unique"], newer)[0] == status
    desk.now += plugins.INSTALL_S
    desk.ask("GET", f"{PLUGINS}/list")
    after = desk.console.state["plugins"][PLUGIN]
    assert (after["unique"], after["id"]) == (newer if status == 200 else before["unique"], before["id"])


def test_an_upgrade_that_fails_leaves_what_was_there(desk: Desk) -> None:
    desk = Desk(daemon="0.6.6")
    newer = identifier(PROVIDER, "0.0.64")
    desk.console.state |= {"packages": [newer], "install_fails": plugins.FAILED}
    before = dict(desk.console.state["plugins"][PLUGIN])
    _, started = upgrade(desk, before["unique"], newer)
    desk.now += plugins.INSTALL_S
    _, task = desk.ask("GET", f"{PLUGINS}/tasks/{started['task_id']}")
    assert (task["task"]["status"], task["task"]["plugins"][0]["message"]) == ("failed", plugins.FAILED)
    assert desk.console.state["plugins"][PLUGIN] == before


@pytest.mark.parametrize(
    ("release", "preserve", "kept"),
    [(VERSION, True, []), (VERSION, None, []), ("1.17.0", None, []), ("1.17.0", True, ["team key"])],
)
def test_an_uninstall_keeps_credentials_where_the_release_can_and_is_told(
    release: str, preserve: bool | None, kept: list[str]
) -> None:
    with endpoint() as (port, _):
        desk = Desk(release=release)
        values = {"openai_api_key": KEY, "openai_api_base": f"http://127.0.0.1:{port}", "api_protocol": "chat"}
        path = f"/console/api/workspaces/current/model-providers/{OPENAI}/credentials"
        assert desk.ask("POST", path, {"name": "team key", "credentials": values})[0] == 201
    body: dict[str, Any] = {"plugin_installation_id": desk.console.state["plugins"]["langgenius/openai"]["id"]}
    if preserve is not None:
        body["preserve_credentials"] = preserve
    assert desk.ask("POST", f"{PLUGINS}/uninstall", body) == (200, {"success": True})
    held = desk.console.state["provider_credentials"][OPENAI]["credentials"]
    assert [credential["name"] for credential in held] == kept
    assert desk.console.state["packages"] == [identifier(PROVIDER)]


@pytest.mark.parametrize(
    ("release", "method", "path"),
    [
        ("1.9.1", "GET", "/workspaces/current"),
        ("1.10.0", "GET", "/workspaces/current"),
        ("1.10.1", "POST", "/workspaces/current"),
        (VERSION, "POST", "/workspaces/current"),
        ("1.17.0", "GET", "/workspaces/current/summary"),
    ],
)
def test_the_current_workspace_is_asked_in_three_ways_and_the_list_in_one(release: str, method: str, path: str) -> None:
    desk = Desk(release=release, admin_key="adm-1")
    key = {"Authorization": "Bearer adm-1", "X-WORKSPACE-ID": desk.console.state["tenant"]}
    answered = set()
    for asked in (("GET", ""), ("POST", ""), ("GET", "/summary")):
        status, answer = desk.ask(asked[0], f"/console/api/workspaces/current{asked[1]}", None, key)
        if status == 200:
            answered.add((asked[0], f"/workspaces/current{asked[1]}"))
            assert (answer["name"], answer["role"]) == ("ops's Workspace", "owner")
    assert answered == {(method, path)}
    listed = desk.ask("GET", "/console/api/workspaces", None, key)[1]["workspaces"]
    assert [(each["name"], each["current"]) for each in listed] == [("ops's Workspace", True)]


def test_what_is_no_package_of_a_plugin_is_refused(desk: Desk) -> None:
    for sent in ({"name": "x.difypkg", "kind": "", "content": b"no zip"}, "<5 bytes: other.difypkg>", None):
        status, answer = desk.ask("POST", f"{PLUGINS}/upload/pkg", {"pkg": sent})
        assert (status, answer["code"]) == (400, "plugin_error")


def test_wrong_passwords_are_counted_for_each_account(desk: Desk) -> None:
    for _ in range(6):
        assert desk.login(EMAIL, "wrong-passw0rd")["Cookie"] == ""
    assert desk.console.state["tries"] == {EMAIL: 6}
    assert desk.login(EMAIL)["Cookie"] == ""  # the right one does not count any more
    body = {"emails": ["second@example.org"], "role": "normal", "language": "en-US"}
    assert desk.ask("POST", "/console/api/workspaces/current/members/invite-email", body)[0] == 201
    desk.console.state["members"][0]["password"] = PASSWORD
    headers = desk.login("second@example.org")
    assert desk.ask("GET", "/console/api/account/profile", None, headers)[1]["email"] == "second@example.org"


def test_a_text_that_was_embedded_once_needs_no_endpoint_and_a_query_for_ten_minutes() -> None:
    with endpoint() as (port, switched):
        desk = Desk(port)
        desk.register("bge", "text-embedding", "BAAI/bge-m3")
        desk.register("sorter", "rerank", "BAAI/bge-reranker-v2-m3")
        token = desk.ask("POST", "/console/api/datasets/api-keys")[1]["token"]
        key = {"Authorization": f"Bearer {token}"}
        named = {"embedding_model": "bge", "embedding_model_provider": PROVIDER, "indexing_technique": "high_quality"}
        made = desk.ask("POST", "/v1/datasets", {"name": "notes", **named}, key)[1]["id"]

        def index(name: str, text: str) -> tuple[str, str | None]:
            body = {"name": name, "text": text, "indexing_technique": "high_quality"}
            batch = desk.ask("POST", f"/v1/datasets/{made}/document/create-by-text", body, key)[1]["batch"]
            desk.now += 1
            path = f"/v1/datasets/{made}/documents/{batch}/indexing-status"
            (told,) = desk.ask("GET", path, None, key)[1]["data"]
            return told["indexing_status"], told["error"]

        def search(query: str, **settings: Any) -> tuple[int, Any]:
            body = {"query": query, **({"retrieval_model": settings} if settings else {})}
            return desk.ask("POST", f"/v1/datasets/{made}/retrieve", body, key)

        assert index("one", "what a steelyard is") == ("completed", None)
        assert len(search("steelyard?")[1]["records"]) == 1
        sorting = {"reranking_provider_name": PROVIDER, "reranking_model_name": "sorter"}
        ranked = search("steelyard?", reranking_enable=True, reranking_model=sorting)[1]["records"]
        assert [record["score"] for record in ranked] == [1.0]
        switched.down = True
        assert index("two", "what a steelyard is") == ("completed", None)
        assert index("three", "an unknown steelyard")[0] == "error"
        assert search("steelyard?")[0] == 200
        assert search("another steelyard?")[0] == 400
        desk.now += 601
        assert search("steelyard?")[0] == 400


def test_load_balancing_is_neither_switched_on_nor_off_without_a_config() -> None:
    with endpoint() as (port, _):
        desk = Desk(port, balancing=True)
        desk.register("chat", "llm", "Qwen/Qwen3-8B")
        entry = desk.console.models.entry(PROVIDER, "chat", "llm")
        entry |= {"balanced": True, "configs": [{"id": "x", "name": "steelyard", "credential_id": entry["current"]}]}
        body = {"model": "chat", "model_type": "llm", "config_from": "custom-model", "credential_id": entry["current"]}
        assert desk.ask("POST", MODELS, {**body, **SWITCHED_OFF})[0] == 200
    assert (entry["balanced"], len(entry["configs"])) == (True, 1)


def test_a_restart_forgets_nothing_and_an_older_state_is_taken() -> None:
    with endpoint() as (port, _):
        desk = Desk(port)
        desk.register("chat", "llm", "Qwen/Qwen3-8B")
        app = desk.ask("POST", "/console/api/apps", {"name": "faq", "mode": "workflow"})[1]["id"]
    paths = ("/console/api/apps", f"/console/api/apps/{app}", MODELS, f"{PLUGINS}/list", f"{PLUGINS}/tasks")
    before = [desk.ask("GET", path) for path in paths]
    state = json.loads(json.dumps(desk.console.state))
    older = {name: value for name, value in state.items() if name not in ("members", "logins", "embedded", "packages")}
    older["admin"] = {name: value for name, value in older["admin"].items() if name != "role"} | {"at": "2026-01-01"}
    older["tasks"], older["datasets"] = [{"id": "t", "settled": True}], {"d": {"id": "d", "name": "d", "documents": []}}
    for kept in (state, older):
        desk.console = Console(kept, ask, clock=lambda: desk.now)
        assert desk.console.state["packages"] == [identifier(PROVIDER), identifier(OPENAI)]
        assert [desk.ask("GET", path) for path in paths] == before
    provider = {"credentials": [{"values": {"openai_api_key": KEY}}]}
    held = {"models": {}, "provider_credentials": {OPENAI: provider}}
    hidden = _crypted(held, b"k")
    assert KEY not in json.dumps(hidden)
    assert _crypted(hidden, b"k") == held


def test_pages_null_and_nothing_go_over_the_line_as_they_are(desk: Desk) -> None:
    server, url = served(handler_of(desk.console, lambda _: None))
    target = urllib.parse.urlsplit(url)

    def over_the_line(method: str, path: str, body: Any = None) -> tuple[int, str, bytes]:
        connection = http.client.HTTPConnection(target.hostname or "", target.port)
        connection.request(method, path, json.dumps(body), {**desk.headers, "Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.getheader("Content-Type") or "", answer.read()

    _, _, made = over_the_line("POST", "/console/api/apps", {"name": "flow", "mode": "workflow"})
    app = f"/console/api/apps/{json.loads(made)['id']}"
    assert over_the_line("GET", f"{app}/workflows/publish") == (200, "application/json", b"null")
    assert over_the_line("DELETE", app) == (204, "application/json", b"")
    assert over_the_line("PUT", "/console/api/apps")[:2] == (405, "application/json")
    status, kind, page = over_the_line("GET", "/console/api/nowhere")
    assert (status, kind, page.startswith(b"<!doctype html>")) == (404, "text/html; charset=utf-8", True)
    server.shutdown()


def test_what_the_double_did_not_foresee_is_a_500_and_no_silence(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(desk.console, "handle", lambda *_: {}["nothing"])
    assert handled(desk.console, "GET", "/console/api/setup", {}, None)[0] == 500
    assert "KeyError: 'nothing'" in capsys.readouterr().err


def damaged(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A body without each of its fields, and with values of other kinds in them."""
    for name in body:
        yield {key: value for key, value in body.items() if key != name}
        for value in (None, 5, "x", [], {}, ["x"], {"x": 5}):
            yield {**body, name: value}


def test_no_body_of_a_wrong_shape_breaks_the_double(desk: Desk) -> None:
    """Every recorded body is damaged field by field; what is answered is the double's affair, but it answers."""
    made = {
        "app": desk.ask("POST", "/console/api/apps", {"name": "flow", "mode": "advanced-chat"})[1]["id"],
        "dataset": desk.ask("POST", "/console/api/datasets", {"name": "notes"})[1]["id"],
    }
    app = desk.ask("POST", f"/console/api/apps/{made['app']}/api-keys")[1]["token"]
    notes = desk.ask("POST", "/console/api/datasets/api-keys")[1]["token"]
    bodies: dict[tuple[str, str], dict[str, Any]] = {}
    for path in (*FIRST, *SECOND):
        request = json.loads(path.read_text())["request"]
        route = desk.console.route_of(request["method"], request["path"])
        if route is not None and isinstance(request["body"], dict) and "logout" not in route:
            target = request["path"]
            for kind, own in made.items():
                target = re.sub(f"/{kind}s/[0-9a-f-]{{36}}", f"/{kind}s/{own}", target)
            bodies.setdefault((route, target), request["body"])
    asked = 0
    for (route, target), body in bodies.items():
        token = notes if "/v1/datasets" in target else app
        headers = {"Authorization": f"Bearer {token}"} if target.startswith("/v1") else desk.headers
        for given in ({}, *damaged(body)):
            status, _ = desk.ask(route.split(" ")[0], target, given, headers)
            asked += 1
            assert status < 600
        desk.console.state |= {"tries": {}, "install_fails": None}
    assert asked > 1000


def test_a_provider_s_icons_are_addresses_of_this_dify() -> None:
    desk = Desk(url="https://dify.example.org")
    icon = desk.ask("GET", "/console/api/workspaces/current/model-providers")[1]["data"][0]["icon_small"]["en_US"]
    assert icon.startswith("https://dify.example.org/console/api/workspaces/")
    assert {known["plugin"] for known in PROVIDERS.values()} >= {PLUGIN}
