"""A Dify (the contract double) and engines behind it, over real HTTP, for the tests of registration."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from dify_recordings import is_recorded

from dify_double.__main__ import handler_of, kept_in
from dify_double.canned_answers import VERSION
from dify_double.credential_forms import PROVIDERS
from dify_double.router import Console, fresh_state
from dify_double.upstream import ask, complete
from steelyard.dify.client import DifyAccess, DifyClient
from steelyard.dify.desired_state import DesiredModel, DesiredState, secret_mark
from steelyard.dify.difference import mend
from steelyard.dify.http import UploadFile
from steelyard.dify.plugin_package import Package, read_package
from steelyard.dify.reconcile import differences
from steelyard.dify.refused_logins import RefusedLogins

PROVIDER = next(iter(PROVIDERS))
PLUGIN = PROVIDERS[PROVIDER]["plugin"]
OPENAI = next(name for name in PROVIDERS if name.endswith("/openai"))  # with a form of its own
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

    def client(self, password: str = PASSWORD, email: str = "admin@lab.example") -> DifyClient:
        return DifyClient(DifyAccess(self.url, email, password), RefusedLogins(self.folder / "logins"))

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

    def app(self, name: str, model: str) -> dict[str, Any]:
        """A chat app of a human's that uses a model."""
        client = self.client()
        made: dict[str, Any] = client.send(
            "POST", "/apps", {"name": name, "mode": "chat", "icon_type": "emoji", "icon": "x"}
        )
        chosen = {"provider": PROVIDER, "name": model, "mode": "chat", "completion_params": {}}
        client.send("POST", f"/apps/{made['id']}/model-config", {"model": chosen})
        return made

    def knowledge(self, name: str, model: str, by: str | None = None) -> None:
        """A knowledge base that a model embeds; only who made it is shown it: the administrator, or a member."""
        made = f"{len(self.console.state['datasets']):08}-0000-4000-8000-{'0' * 12}"
        of_model = {
            "embedding_model": model,
            "embedding_model_provider": PROVIDER,
            "indexing_technique": "high_quality",
        }
        whose = {"created_by": by or self.console.state["admin"]["id"], "permission": "only_me", "documents": {}}
        self.console.state["datasets"][made] = {"id": made, "name": name, "at": 0, **of_model, **whose}

    def member(self, email: str, role: str = "admin") -> str:
        """Somebody else in the workspace, who logs in with the same password; the id."""
        invitation = {"emails": [email], "role": role, "language": "en-US"}
        self.client().send("POST", "/workspaces/current/members/invite-email", invitation)
        account = self.console.state["members"][-1]
        account |= {"password": PASSWORD, "status": "active"}
        return str(account["id"])

    def annotated(self, name: str, model: str, mode: str = "advanced-chat") -> None:
        """An app whose annotation reply is found by an embedding model, and names it nowhere else."""
        client = self.client()
        app = client.send("POST", "/apps", {"name": name, "mode": mode, "icon_type": "emoji", "icon": "x"})
        reply = {"score_threshold": 0.9, "embedding_provider_name": PROVIDER, "embedding_model_name": model}
        client.send("POST", f"/apps/{app['id']}/annotation-reply/enable", reply)

    def mark(self, key: str, fields: dict[str, str]) -> str:
        """The mark of a credential as the role made it before a host kept a key of its own."""
        return secret_mark(key, fields)

    def set_password(self, password: str) -> None:
        """The administrator's password is changed in Dify."""
        self.console.state["admin"]["password"] = password

    def by_console(self, package: Package) -> None:
        """A human installs a plugin's package in the console."""
        client, path = self.client(), "/workspaces/current/plugin"
        body = {"pkg": UploadFile(Path(package.path).name, Path(package.path).read_bytes())}
        unique = client.send("POST", f"{path}/upload/pkg", body)["unique_identifier"]
        self.console.plugins._installed(unique, "package", None)

    def team_key(self, provider: str) -> None:
        """A human puts a key into the provider's own form."""
        values = {"openai_api_key": "sk-" + "h" * 20, "openai_api_base": self.endpoint, "validate_model": "tiny"}
        kept = self.console.state["provider_credentials"].setdefault(provider, {"credentials": [], "current": None})
        kept["credentials"].append({"id": "k" * 36, "name": "team key", "values": values})
        kept |= {"current": "k" * 36, "cached": []}

    def balance(self, name: str) -> None:
        """A human adds a credential of his own to a model, and balances over both."""
        self.by_hand(name)
        configs = [
            {"credential_id": credential["id"], "enabled": True} for credential in self.entry(name)["credentials"]
        ]
        body = {"model": name, "model_type": "llm", "config_from": "custom-model"}
        body |= {"credential_id": self.entry(name)["current"], "load_balancing": {"enabled": True, "configs": configs}}
        self.client().send("POST", f"/workspaces/current/model-providers/{PROVIDER}/models", body)

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
    made.documents.index_s = 0.0  # a document is indexed when its status is first asked for
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
        unrecorded = sorted(call for call in called if not is_recorded(made, *call))
        assert not unrecorded, f"no answer of the real one was recorded for {unrecorded}"


def package(
    folder: Path, version: str = "0.0.63", plugin: str = PLUGIN, readme: str = "", more_manifest: str = ""
) -> Package:
    """A package with a head like a real one's; the double unpacks no more than that."""
    author, name = plugin.split("/")
    path = folder / f"{name}-{version}.difypkg"
    with zipfile.ZipFile(path, "w") as archive:
        manifest = f"version: {version}\nauthor: {author}\nname: {name}\ntype: plugin\n{more_manifest}"
        for member, text in (("manifest.yaml", manifest), ("README.md", readme)):
            archive.writestr(zipfile.ZipInfo(member), text)  # at a fixed time: the same bytes whenever it is made
    return read_package(str(path), hashlib.sha256(path.read_bytes()).hexdigest())


def writes(requests: list[str]) -> list[str]:
    """Requests that could change something; two POSTs are questions."""
    asked = ("/login", "/list/installations/ids", "/workspaces/current", "/refresh-token")
    return [line for line in requests if not line.startswith("GET ") and not line.endswith(asked)]
