"""A Dify (the contract double) and engines behind it, over real HTTP, for the tests of registration."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from dify_recordings import recorded_routes

from dify_double.__main__ import handler_of, kept_in
from dify_double.canned_answers import VERSION
from dify_double.credential_forms import PROVIDERS
from dify_double.router import Console, fresh_state
from dify_double.upstream import ask, complete
from steelyard.dify.client import DifyAccess, DifyClient
from steelyard.dify.desired_state import DesiredModel, DesiredState
from steelyard.dify.difference import mend
from steelyard.dify.reconcile import differences
from steelyard.dify.refused_logins import RefusedLogins

PROVIDER = next(iter(PROVIDERS))
PLUGIN = PROVIDERS[PROVIDER]["plugin"]
KEY, PASSWORD = "sk-client-key-1", "passw0rd-of-lab"
KNOWN = ("tiny", "embed", "sort", "hear", "speak", "other")


class Engine(BaseHTTPRequestHandler):
    """Aliases that answer whoever shows the key."""

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.endswith("/audio/transcriptions"):
            model = content.split(b'name="model"\r\n\r\n')[1].split(b"\r\n")[0].decode()
        else:
            model = json.loads(content)["model"]
        known = self.headers.get("Authorization") == f"Bearer {KEY}"
        status = 200 if known and model in KNOWN else 404 if known else 401
        answer = {
            "text": "",
            "choices": [{"message": {"content": "hello"}}],
            "data": [{"embedding": [1.0, 0.5]}],
            "results": [{"index": 0, "relevance_score": 1.0}],
        }
        text = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        pass


def served(handler: type[BaseHTTPRequestHandler]) -> tuple[ThreadingHTTPServer, str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    return server, f"http://127.0.0.1:{server.server_port}"


@dataclasses.dataclass
class World:
    console: Console
    url: str
    endpoint: str
    requests: list[str]
    folder: Path
    kept: dict[str, str] = dataclasses.field(default_factory=dict)

    def client(self, password: str = PASSWORD) -> DifyClient:
        return DifyClient(DifyAccess(self.url, "admin@lab.example", password), RefusedLogins(self.folder / "logins"))

    def model(self, name: str = "tiny", kind: str = "llm", **changed: Any) -> DesiredModel:
        fields = {
            "display_name": name.title(),
            "endpoint_url": self.endpoint + "/v1",
            "endpoint_model_name": name,
            "api_key": KEY,
        }
        if kind in ("llm", "text-embedding", "rerank"):
            fields["context_size"] = "256"
        if kind == "llm":
            fields |= {"mode": "chat", "max_tokens_to_sample": "64", "stream_mode_delimiter": "\\n\\n"}
        if kind == "text-embedding":
            fields["max_chunks"] = "1"
        return DesiredModel(name, kind, "steelyard", {**fields, **changed})

    def wanted(self, *models: DesiredModel, **more: Any) -> DesiredState:
        return DesiredState(PROVIDER, "steelyard", models, known_marks=self.kept, mark_key=PASSWORD, **more)

    def converge(self, client: DifyClient, *models: DesiredModel, **more: Any) -> list[str]:
        """Actions taken; the marks are kept as the role keeps them."""
        wanted = self.wanted(*models, **more)
        found = differences(client, wanted)
        for difference in found:
            mend(client, difference)
        self.kept = wanted.marks()
        return [difference.action for difference in found]

    def entry(self, name: str = "tiny") -> dict[str, Any]:
        found: dict[str, Any] = next(e for e in self.console.state["models"].values() if e["model"] == name)
        return found

    def values(self, name: str = "tiny", credential: str = "steelyard") -> dict[str, str]:
        found: dict[str, str] = next(c["values"] for c in self.entry(name)["credentials"] if c["name"] == credential)
        return found

    def by_hand(self, name: str, credential: str = "mine", kind: str = "llm") -> None:
        """What a human does in the form."""
        body = {"model": name, "model_type": kind, "name": credential, "credentials": self.model(name, kind).fields}
        self.client().send("POST", f"/workspaces/current/model-providers/{PROVIDER}/models/credentials", body)


@contextmanager
def a_world(tmp_path: Path, **console: Any) -> Iterator[World]:
    """A Dify with its administrator and the provider's plugin."""
    made = Console(fresh_state(), ask, complete=complete, **console)
    made.account.create_admin("admin@lab.example", "admin", PASSWORD)
    made.preinstall(PROVIDER)
    requests: list[str] = []
    called: set[tuple[str, str]] = set()
    base = handler_of(made, kept_in(tmp_path / "state.json"))

    class Handler(base):  # type: ignore[misc, valid-type]
        def log_message(self, *_: object) -> None:
            requests.append(f"{self.command} {self.path.split('?')[0]}")
            called.add((self.command, self.path))

    dify, url = served(Handler)
    engine, endpoint = served(Engine)
    yield World(made, url, endpoint, requests, tmp_path)
    dify.shutdown()
    engine.shutdown()
    if made.release == VERSION:  # of other releases nothing was recorded
        assert {call for call in called if made.route_of(*call) not in recorded_routes()} == set()


def writes(requests: list[str]) -> list[str]:
    """Requests that could change something; two POSTs are questions."""
    asked = ("/login", "/list/installations/ids", "/workspaces/current", "/refresh-token")
    return [line for line in requests if not line.startswith("GET ") and not line.endswith(asked)]
