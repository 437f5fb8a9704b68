"""The console API: one method from request to answer, over a state that is plain JSON."""

from __future__ import annotations

import datetime
import time
import urllib.parse
from collections.abc import Callable
from typing import Any

from . import canned_answers
from .account import ConsoleAccount
from .apps import Apps, Complete
from .credential_forms import DoubleBroken, Invalid
from .model_providers import Ask, ProviderModels, State, new_id
from .model_routes import ModelRoutes
from .plugins import Plugins, identifier
from .routes import Answer, Request, Route, answer_by, flat, ok

PREFIX, SERVICE = "/console/api", "/v1"
OPEN = ("/setup", "/init", "/login", "/refresh-token", "/version")  # without a login


def fresh_state() -> State:
    """Return the state of a Dify that nobody has set up."""
    return {
        "tenant": new_id(),
        "admin": None,
        "setup_at": None,
        "init_sessions": [],
        "sessions": {},
        "refreshes": [],
        "tries": {},
        "plugins": {},
        "tasks": [],
        "models": {},
        "defaults": {},
        "added": 0,
        "apps": {},
        "datasets": {},
        "keys": {},
    }


def now() -> str:
    """Return the time in UTC as Dify writes it."""
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")  # noqa: UP017  runs on 3.9 too


def cookies_of(headers: dict[str, str]) -> dict[str, str]:
    """Return the cookies of a request by name, without the prefix `__Host-`."""
    pairs = (part.strip().partition("=") for part in headers.get("cookie", "").split(";") if "=" in part)
    return {name.removeprefix("__Host-"): value for name, _, value in pairs}


class Console:
    """The console and its state. `ask` is how an endpoint is called when credentials are validated."""

    def __init__(
        self,
        state: State,
        ask: Ask,
        init_password: str = "",
        admin_key: str | None = None,
        clock: Callable[[], float] = time.time,
        release: str = canned_answers.VERSION,
        balancing: bool = False,
        complete: Complete | None = None,
    ) -> None:
        self.state, self.admin_key, self.release, self.balancing = state, admin_key, release, balancing
        self.account = ConsoleAccount(state, init_password, now, tuple(int(part) for part in release.split(".")))
        self.models = ProviderModels(state, ask, balancing)
        self.apps = Apps(state, self.models, complete)
        self.plugins = Plugins(state, now, clock)
        self._routes = [
            *self.account.routes(),
            *ModelRoutes(self.models).routes(),
            *self.apps.routes(),
            *self.plugins.routes(),
            *self._own_routes(),
        ]

    def _own_routes(self) -> list[Route]:
        features = {**canned_answers.FEATURES, "model_load_balancing_enabled": self.balancing}
        return [
            Route("GET", "/system-features", lambda _: ok(canned_answers.SYSTEM_FEATURES)),
            Route("GET", "/features", lambda _: ok(features)),
            Route("GET", "/version", lambda _: ok({**canned_answers.VERSION_ANSWER, "version": self.release})),
        ]

    def preinstall(self, provider: str) -> None:
        """Install the plugin of a provider at once."""
        self.plugins.installed_now(identifier(provider))

    def handle(self, method: str, target: str, headers: dict[str, str], body: Any) -> Answer:
        """Return the answer to a request: status, Set-Cookie values, decoded body (None: empty)."""
        self.plugins.settle()
        url = urllib.parse.urlsplit(target)
        document = body if isinstance(body, dict) else {}
        if url.path.startswith(SERVICE + "/"):
            return self.apps.service(method, url.path[len(SERVICE) :], headers, document)
        if url.path == "/health":
            return ok({"pid": 1, "status": "ok", "version": self.release})
        path = urllib.parse.unquote(url.path).removeprefix(PREFIX)
        given = {name.lower(): value for name, value in headers.items()}
        cookies = cookies_of(given)
        if path not in OPEN:
            refused = None if self._is_admin_key(given) else self.account.refusal(given, cookies)
            if refused is not None:
                return refused
        request = Request(method, path, dict(urllib.parse.parse_qsl(url.query)), document, cookies)
        try:
            return answer_by(self._routes, request)
        except Invalid as refusal:
            return flat(400, "invalid_param", str(refusal))
        except DoubleBroken:
            return 500, [], {"message": "Internal Server Error", "code": "unknown", "status": 500}

    def _is_admin_key(self, headers: dict[str, str]) -> bool:
        shown = headers.get("authorization", "").removeprefix("Bearer ").strip()
        return (
            bool(self.admin_key) and shown == self.admin_key and headers.get("x-workspace-id") == self.state["tenant"]
        )
