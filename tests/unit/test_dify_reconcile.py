"""Registration against the double, over real HTTP: created once, then nothing; every change by hand found and mended."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from steelyard.dify import reconcile
from steelyard.dify.client import DifyAccess, DifyClient
from steelyard.dify.reconcile import WantedModel, differences, masked, mend
from steelyard.errors import DifyLoginRefused, DifyPluginMissing, DifyRefused, DifyUnreachable, EndpointNotReady, SteelyardError
from steelyard.lab.dify_double.__main__ import handler_of
from steelyard.lab.dify_double.console import Console, fresh_state
from steelyard.lab.dify_double.endpoint import ask
from steelyard.lab.dify_double.forms import PROVIDERS

PROVIDER = next(iter(PROVIDERS))
KEY, PASSWORD = "sk-client-key-1", "passw0rd-of-lab"


class Engine(BaseHTTPRequestHandler):
    """An alias that answers whoever shows the key."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        known = self.headers.get("Authorization") == f"Bearer {KEY}"
        status = 200 if known and body["model"] == "tiny" else 404 if known else 401
        self.send_response(status)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        pass


def served(handler: type[BaseHTTPRequestHandler]) -> tuple[ThreadingHTTPServer, str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, f"http://127.0.0.1:{server.server_port}"


@dataclasses.dataclass
class World:
    console: Console
    url: str
    endpoint: str
    requests: list[str]

    def client(self, password: str = PASSWORD) -> DifyClient:
        return DifyClient(DifyAccess(self.url, "admin@lab.example", password))

    def wanted(self, **changed: str) -> WantedModel:
        fields = {
            "display_name": "Tiny", "endpoint_url": self.endpoint + "/v1", "endpoint_model_name": "tiny", "api_key": KEY,
            "context_size": "256", "mode": "chat", "max_tokens_to_sample": "64", "stream_mode_delimiter": "\\n\\n",
        }  # fmt: skip
        return WantedModel("tiny", "llm", "steelyard", {**fields, **changed})

    def converge(self, client: DifyClient, *models: WantedModel) -> list[str]:
        found = differences(client, PROVIDER, models)
        for difference in found:
            mend(client, PROVIDER, difference)
        return [difference.action for difference in found]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    console = Console(fresh_state(), ask)
    console.account.create_admin("admin@lab.example", "admin", PASSWORD)
    console.preinstall(PROVIDER)
    requests: list[str] = []
    base = handler_of(console, tmp_path / "state.json")

    class Handler(base):  # type: ignore[misc, valid-type]
        def log_message(self, *_: object) -> None:
            requests.append(f"{self.command} {self.path.split('?')[0]}")

    dify, url = served(Handler)
    engine, endpoint = served(Engine)
    yield World(console, url, endpoint, requests)
    dify.shutdown()
    engine.shutdown()


def writes(requests: list[str]) -> list[str]:
    return [line for line in requests if not line.startswith("GET ") and not line.endswith("/login")]


def test_model_is_created_once_and_the_second_run_writes_nothing(world: World) -> None:
    assert world.converge(world.client(), world.wanted()) == ["create"]
    world.requests.clear()
    client = world.client()
    assert world.converge(client, world.wanted()) == []
    assert writes(world.requests) == []
    assert client.logins == 1
    assert len(world.requests) == 5  # version, login, providers, models, credentials, and nothing else


def current(world: World) -> dict[str, str]:
    entry = next(iter(world.console.state["models"].values()))
    found: dict[str, str] = next(c["values"] for c in entry["credentials"] if c["name"] == "steelyard")
    return found


@pytest.mark.parametrize(
    ("field", "value"),
    [("endpoint_url", "http://127.0.0.1:9/v1"), ("context_size", "8"), ("display_name", "Mine"), ("api_key", "another-key-00")],
)
def test_field_changed_by_hand_is_found_and_mended(world: World, field: str, value: str) -> None:
    world.converge(world.client(), world.wanted())
    declared = current(world)[field]
    current(world)[field] = value
    found = differences(world.client(), PROVIDER, (world.wanted(),))
    assert [(difference.action, field in difference.declared) for difference in found] == [("update", True)]
    assert value not in found[0].live or field != "api_key"
    assert world.converge(world.client(), world.wanted()) == ["update"]
    assert current(world)[field] == declared
    assert world.converge(world.client(), world.wanted()) == []


def test_model_disabled_by_hand_is_enabled(world: World) -> None:
    world.converge(world.client(), world.wanted())
    world.client().send(
        "PATCH", f"/workspaces/current/model-providers/{PROVIDER}/models/disable", {"model": "tiny", "model_type": "llm"}
    )
    assert world.converge(world.client(), world.wanted()) == ["enable"]
    assert world.converge(world.client(), world.wanted()) == []


def test_model_deleted_by_hand_leaves_an_orphan_that_is_taken_up_again(world: World) -> None:
    world.converge(world.client(), world.wanted())
    world.client().send(
        "DELETE", f"/workspaces/current/model-providers/{PROVIDER}/models", {"model": "tiny", "model_type": "llm"}
    )
    assert world.converge(world.client(), world.wanted()) == ["switch"]
    assert world.converge(world.client(), world.wanted()) == []


def test_other_credential_made_active_by_hand_is_switched_back_and_kept(world: World) -> None:
    world.converge(world.client(), world.wanted())
    path = f"/workspaces/current/model-providers/{PROVIDER}/models/credentials"
    named = {"model": "tiny", "model_type": "llm"}
    world.client().send("POST", path, {**named, "name": "mine", "credentials": world.wanted(display_name="Mine").fields})
    entry = next(iter(world.console.state["models"].values()))
    entry["current"] = next(c["id"] for c in entry["credentials"] if c["name"] == "mine")
    assert world.converge(world.client(), world.wanted()) == ["switch"]
    assert sorted(c["name"] for c in entry["credentials"]) == ["mine", "steelyard"]


def test_models_of_a_humans_making_are_not_touched(world: World) -> None:
    path = f"/workspaces/current/model-providers/{PROVIDER}/models/credentials"
    body = {"model": "other", "model_type": "llm", "name": "mine", "credentials": world.wanted().fields}
    world.client().send("POST", path, body)
    before = json.dumps(world.console.state["models"])
    assert differences(world.client(), PROVIDER, ()) == []
    assert json.dumps(world.console.state["models"]) == before


def test_wrong_password_is_tried_once_in_a_whole_run(world: World) -> None:
    client = world.client("wrong-passw0rd")
    for _ in range(3):
        with pytest.raises(DifyLoginRefused, match="tried once"):
            differences(client, PROVIDER, (world.wanted(),))
    assert [line for line in world.requests if line.endswith("/login")] == ["POST /console/api/login"]
    assert world.console.state["tries"] == {"admin@lab.example": 1}


def test_dify_down_is_told(world: World) -> None:
    client = DifyClient(DifyAccess("http://127.0.0.1:9", "a", "b"))
    with pytest.raises(DifyUnreachable, match="connection refused"):
        differences(client, PROVIDER, (world.wanted(),))


def test_plugin_missing_is_told(world: World) -> None:
    world.console.state["plugins"].clear()
    with pytest.raises(DifyPluginMissing):
        differences(world.client(), PROVIDER, (world.wanted(),))


def refusal(world: World, wanted: WantedModel) -> SteelyardError:
    with pytest.raises(SteelyardError) as caught:
        world.converge(world.client(), wanted)
    assert writes(world.requests) == []
    return caught.value


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconcile.require_answer, "__defaults__", (0.0,))


@pytest.mark.usefixtures("_impatient")
def test_dead_endpoint_is_not_registered(world: World) -> None:
    error = refusal(world, world.wanted(endpoint_url="http://127.0.0.1:9/v1"))
    assert isinstance(error, EndpointNotReady)
    assert "connection refused" in str(error)


@pytest.mark.usefixtures("_impatient")
def test_wrong_key_is_not_registered(world: World) -> None:
    assert isinstance(refusal(world, world.wanted(api_key="wrong")), EndpointNotReady)


def test_dify_refuses_a_wrong_key_with_its_own_400(world: World) -> None:
    path = f"/workspaces/current/model-providers/{PROVIDER}/models/credentials"
    body = {"model": "tiny", "model_type": "llm", "name": "x", "credentials": world.wanted(api_key="wrong").fields}
    with pytest.raises(DifyRefused, match="400: Credentials validation failed with status code 401"):
        world.client().send("POST", path, body)


def test_key_is_compared_by_its_mask() -> None:
    assert masked("sk-fake-vllm") == "sk-fak************lm"
    assert masked("short") == "*" * 20


def test_texts_of_values_with_secrets_hold_no_secret(world: World) -> None:
    access = DifyAccess("http://x", "a", "topsecret", "godkey")
    assert "topsecret" not in repr(access)
    assert "godkey" not in repr(access)
    assert KEY not in repr(world.wanted())
