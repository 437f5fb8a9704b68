"""The console API: one method from request to answer, over a state that is plain JSON."""

from __future__ import annotations

import datetime
import re
import time
import urllib.parse
from collections.abc import Callable
from typing import Any

from . import static
from .account import Account, Answer, flat
from .apps import Apps, Complete
from .forms import TYPE_NAMES, Broken, Invalid
from .models import Ask, Models, State, new_id
from .plugins import Plugins, identifier

PREFIX, SERVICE = "/console/api", "/v1"
BASE = "/workspaces/current/model-providers"
OPEN = ("/setup", "/init", "/login", "/refresh-token", "/version")
NAME_LIMIT = 30


def fresh_state() -> State:
    return {
        "tenant": new_id(), "admin": None, "setup_at": None, "init_sessions": [], "sessions": {}, "refreshes": [],
        "tries": {}, "plugins": {}, "tasks": [], "models": {}, "defaults": {}, "added": 0, "apps": {}, "datasets": {}, "keys": {},
    }  # fmt: skip


def now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")  # noqa: UP017  runs on 3.9 too


def cookies_of(headers: dict[str, str]) -> dict[str, str]:
    pairs = (part.strip().partition("=") for part in headers.get("cookie", "").split(";") if "=" in part)
    return {name.removeprefix("__Host-"): value for name, _, value in pairs}


class Console:
    """`handle` answers a request; `ask` is how an endpoint is called when credentials are validated."""

    def __init__(self, state: State, ask: Ask, init_password: str = "", admin_key: str | None = None,
                 clock: Callable[[], float] = time.time, release: str = static.VERSION, balancing: bool = False,
                 complete: Complete | None = None) -> None:  # fmt: skip
        self.state, self.admin_key, self.release, self.balancing = state, admin_key, release, balancing
        self.account = Account(state, init_password, now, tuple(int(part) for part in release.split(".")))
        self.models = Models(state, ask, balancing)
        self.apps = Apps(state, self.models, complete)
        self.plugins = Plugins(state, now, clock)

    def preinstall(self, provider: str) -> None:
        self.plugins.installed_now(identifier(provider))

    def handle(self, method: str, target: str, headers: dict[str, str], body: Any) -> Answer:
        """Status, Set-Cookie values, decoded body (None: empty)."""
        self.plugins.settle()
        url = urllib.parse.urlsplit(target)
        if url.path.startswith(SERVICE + "/"):
            return self.apps.service(method, url.path[len(SERVICE) :], headers, body if isinstance(body, dict) else {})
        if url.path == "/health":
            return ok({"pid": 1, "status": "ok", "version": self.release})
        path = urllib.parse.unquote(url.path).removeprefix(PREFIX)
        query = dict(urllib.parse.parse_qsl(url.query))
        given = {name.lower(): value for name, value in headers.items()}
        cookies = cookies_of(given)
        if path not in OPEN:
            refused = None if self._is_admin_key(given) else self.account.refusal(given, cookies)
            if refused is not None:
                return refused
        try:
            return self._route(method, path, query, body if isinstance(body, dict) else {}, cookies)
        except Invalid as refusal:
            return flat(400, "invalid_param", str(refusal))
        except Broken:
            return 500, [], {"message": "Internal Server Error", "code": "unknown", "status": 500}

    def _is_admin_key(self, headers: dict[str, str]) -> bool:
        shown = headers.get("authorization", "").removeprefix("Bearer ").strip()
        return bool(self.admin_key) and shown == self.admin_key and headers.get("x-workspace-id") == self.state["tenant"]

    def _route(self, method: str, path: str, query: dict[str, str], body: dict[str, Any], cookies: dict[str, str]) -> Answer:
        account = self.account
        simple: dict[tuple[str, str], Callable[[], Answer]] = {
            ("GET", "/setup"): account.setup_status,
            ("POST", "/setup"): lambda: account.setup(body, cookies),
            ("GET", "/init"): account.init_status,
            ("POST", "/init"): lambda: account.init(body),
            ("POST", "/login"): lambda: account.login(body),
            ("POST", "/refresh-token"): lambda: account.refresh(cookies, body),
            ("POST", "/logout"): lambda: account.logout(cookies),
            ("GET", "/account/profile"): lambda: ok(account.profile()),
            ("POST", "/workspaces/current"): lambda: ok(account.workspace()),
            ("GET", "/workspaces"): self._workspaces,
            ("GET", "/system-features"): lambda: ok(static.SYSTEM_FEATURES),
            ("GET", "/features"): lambda: ok({**static.FEATURES, "model_load_balancing_enabled": self.balancing}),
            ("POST", "/workspaces/info"): lambda: self._name_workspace(body),
            ("GET", "/version"): lambda: ok({**static.VERSION_ANSWER, "version": self.release}),
            ("GET", BASE): lambda: ok({"data": self._providers(query)}),
            ("GET", "/workspaces/current/default-model"): lambda: ok({"data": self._default(query["model_type"])}),
            ("POST", "/workspaces/current/default-model"): lambda: self._set_default(body),
        }
        found = simple.get((method, path))
        if found is not None:
            return found()
        if path.startswith(("/apps", "/datasets")):
            return self.apps.console(method, path, query, body)
        if path.startswith("/workspaces/current/plugin/"):
            return self._plugin(method, path.removeprefix("/workspaces/current/plugin/"), query, body)
        typed = re.match(r"^/workspaces/current/models/model-types/([a-z0-9-]+)$", path)
        if typed:
            return ok({"data": self.models.of_type(typed[1])})
        if path.startswith(BASE + "/"):
            provider, slash, rest = path[len(BASE) + 1 :].partition("/models")
            if slash:
                return self._model(method, provider, rest, query, body)
        return flat(404, "not_found", "The requested URL was not found on the server.")

    def _name_workspace(self, body: dict[str, Any]) -> Answer:
        self.state["workspace"] = body["name"]
        return ok({"result": "success", "tenant": self.account.workspace()})

    def _workspaces(self) -> Answer:
        current = self.account.workspace()
        kept = {key: current[key] for key in ("id", "name", "status", "created_at")}
        return ok({"workspaces": [{**kept, "plan": "sandbox", "last_opened_at": 0, "current": True}]})

    def _providers(self, query: dict[str, str]) -> list[dict[str, Any]]:
        views = [self.models.provider_view(provider) for provider in self.models.installed()]
        return [view for view in views if query.get("model_type", "llm") in view["supported_model_types"]]

    def _default(self, model_type: str) -> dict[str, Any] | None:
        chosen = self.state["defaults"].get(model_type)
        if chosen is None:
            return None
        provider = self.models.small_provider(chosen["provider"])
        return {"model": chosen["model"], "model_type": model_type, "provider": provider}

    def _set_default(self, body: dict[str, Any]) -> Answer:
        self.models.set_default(body["model_settings"])
        return ok({"result": "success"})

    def _plugin(self, method: str, path: str, query: dict[str, str], body: dict[str, Any]) -> Answer:
        plugins, installed = self.plugins, self.state["plugins"]
        task = re.match(r"^tasks/([0-9a-f-]+)$", path)
        if (method, path) == ("POST", "upload/pkg"):
            package = body.get("pkg", "")
            if isinstance(package, dict):
                return ok(plugins.upload(package["name"], package["content"]))
            return ok(plugins.upload(package.split(": ")[-1].rstrip(">"), None))  # as it was recorded
        if (method, path) == ("POST", "install/pkg"):
            return ok(plugins.install(body["plugin_unique_identifiers"]))
        if (method, path) == ("POST", "install/marketplace"):
            raise Invalid("marketplace is not enabled")
        if method == "GET" and task:
            return ok({"task": plugins.task(task[1])})
        if (method, path) == ("GET", "tasks"):
            return ok({"tasks": [plugins.task_view(task) for task in self.state["tasks"]]})
        if (method, path) == ("GET", "list"):
            return ok({"plugins": [plugins.view(plugin, True) for plugin in installed], "total": len(installed)})
        if (method, path) == ("POST", "list/installations/ids"):
            return ok({"plugins": [plugins.view(plugin, False) for plugin in body["plugin_ids"] if plugin in installed]})
        if (method, path) == ("POST", "uninstall"):
            plugins.uninstall(body["plugin_installation_id"])
            return ok({"success": True})
        return flat(404, "not_found", "The requested URL was not found on the server.")

    def _model(self, method: str, provider: str, rest: str, query: dict[str, str], body: dict[str, Any]) -> Answer:
        models = self.models
        if "model_type" in body:
            body = {**body, "model_type": TYPE_NAMES.get(body["model_type"], body["model_type"])}
        if rest == "" and method == "GET":
            entries = models.of_provider(provider)
            return ok({"data": [{**models.view(e), "provider": models.small_provider(provider)} for e in entries]})
        if rest == "/parameter-rules":
            return ok({"data": self._rules(provider, query["model"])})
        if rest == "/credentials" and method == "GET":
            view = models.credentials_view(provider, query["model"], query["model_type"], query.get("credential_id"))
            return ok(view)
        if rest == "/credentials" and method in ("POST", "PUT") and len(body.get("name") or "") > NAME_LIMIT:
            raise Invalid("1 validation error for ParserCreateCredential\nname\n  String should have at most 30 characters")
        if rest == "/credentials" and method == "DELETE" and not isinstance(body.get("credential_id"), str):
            raise Invalid("1 validation error for ParserDeleteCredential\ncredential_id\n  Input should be a valid string")
        changes: dict[tuple[str, str], tuple[int, Callable[[], Any]]] = {
            ("POST", "/credentials"): (201, lambda: models.create(provider, body)),
            ("PUT", "/credentials"): (200, lambda: models.update(provider, body)),
            ("DELETE", "/credentials"): (204, lambda: models.delete_credential(provider, body)),
            ("POST", "/credentials/switch"): (200, lambda: models.switch(provider, body)),
            ("POST", ""): (200, lambda: models.save_model(provider, body)),
            ("DELETE", ""): (204, lambda: models.delete_model(provider, body)),
            ("PATCH", "/enable"): (200, lambda: models.enable(provider, body, True)),
            ("PATCH", "/disable"): (200, lambda: models.enable(provider, body, False)),
            ("POST", "/credentials/validate"): (200, lambda: models.validate(provider, body)),
        }
        if (method, rest) not in changes:
            return flat(404, "not_found", "The requested URL was not found on the server.")
        status, change = changes[method, rest]
        answer = change()
        return status, [], None if status == 204 else answer or {"result": "success"}

    def _rules(self, provider: str, model: str) -> list[dict[str, Any]]:
        entry = self.models.entry(provider, model, "llm")
        values = self.models.credential(entry, entry["current"])["values"]
        return static.parameter_rules(int(values["max_tokens_to_sample"]))


def ok(body: Any) -> Answer:
    return 200, [], body
