"""Both APIs of the double: one method from request to answer, over a state that is plain JSON."""

from __future__ import annotations

import re
import time
import urllib.parse
from collections.abc import Callable
from typing import Any

from . import canned_answers
from .account import ConsoleAccount
from .annotations import Annotations
from .api_keys import ApiKeys
from .app_views import AppViews
from .apps import Apps
from .chat import Chat
from .clock import Clock
from .credential_forms import DoubleBroken, Invalid
from .datasets import Datasets
from .documents import Documents
from .embeddings import Embeddings
from .json_object import JsonObject, State, new_id
from .model_providers import Ask, ProviderModels
from .model_routes import ModelRoutes
from .model_views import ModelViews
from .older_states import take_over
from .plugins import Plugins, daemon_of
from .provider_credentials import ProviderCredentials
from .retrieval import Retrieval
from .routes import BROKEN, NOT_FOUND_PAGE, Answer, Request, Route, answer_by, flat, nested, ok
from .service import ServiceApi
from .upstream import Complete, ask_provider
from .upstream import complete as complete_by_endpoint
from .workflows import Workflows
from .workspaces import Workspaces

PREFIX, SERVICE = "/console/api", "/v1"


def fresh_state() -> State:
    """Return the state of a Dify that nobody has set up."""
    return {
        "tenant": new_id(),
        "admin": None,
        "members": [],
        "invitations": {},
        "setup_at": None,
        "init_sessions": [],
        "sessions": {},
        "logins": {},
        "refreshes": [],
        "tries": {},
        "plugins": {},
        "packages": [],
        "tasks": [],
        "provider_credentials": {},
        "models": {},
        "defaults": {},
        "added": 0,
        "apps": {},
        "datasets": {},
        "keys": {},
        "annotation_jobs": [],
        "embedded": {},
        "conversations": {},
        "end_users": {},
    }


def cookies_of(headers: dict[str, str]) -> dict[str, str]:
    """Return the cookies of a request by name, without the prefix `__Host-`."""
    pairs = (part.strip().partition("=") for part in headers.get("cookie", "").split(";") if "=" in part)
    return {name.removeprefix("__Host-"): value for name, _, value in pairs}


def numbers_of(release: str) -> tuple[int, ...]:
    """Return the parts of a release's name as numbers."""
    return tuple(int(part) for part in release.split("-")[0].split("."))


class Console:
    """Both APIs and their state. `ask` is how an endpoint is called when credentials are validated; `daemon` is the
    release of the plugin daemon, by default the one that `release` brings; `url` is where people reach this Dify.
    """

    def __init__(
        self,
        state: State,
        ask: Ask,
        init_password: str = "",
        admin_key: str | None = None,
        clock: Callable[[], float] = time.time,
        release: str = canned_answers.VERSION,
        balancing: bool = False,
        complete: Complete = complete_by_endpoint,
        daemon: str = "",
        url: str = "",
    ) -> None:
        take_over(state, fresh_state())
        self.state, self.admin_key, self.release, self.balancing = state, admin_key, release, balancing
        self.clock, numbers = Clock(clock), numbers_of(release)
        self.account = ConsoleAccount(state, init_password, self.clock, numbers)
        self.models = ProviderModels(state, ask)
        self.credentials = ProviderCredentials(state, ask_provider)
        keys, app_views = ApiKeys(state, self.clock), AppViews(state, url)
        self.apps = Apps(state, self.models, keys, self.clock, app_views)
        self.annotations = Annotations(state, self.apps)
        embeddings = Embeddings(state, self.models, self.clock)
        datasets = Datasets(state, self.models, keys, self.clock)
        self.documents = Documents(state, embeddings, self.clock)
        retrieval = Retrieval(state, self.models, embeddings)
        used_daemon = numbers_of(daemon) if daemon else daemon_of(numbers)
        self.plugins = Plugins(state, self.clock, numbers, used_daemon, self.credentials.remove)
        views = ModelViews(self.models, self.credentials, balancing, url)
        self.routes = [
            *self.account.routes(),
            *Workspaces(self.account, numbers, url).routes(),
            *ModelRoutes(self.models, views).routes(),
            *self.credentials.routes(),
            *self.apps.routes(),
            *self.annotations.routes(),
            *Workflows(self.apps, self.clock).routes(),
            *datasets.routes(),
            *retrieval.routes(datasets.of_one),
            *self.plugins.routes(),
            *self._own_routes(),
        ]
        of_service = [
            *Chat(state, self.models, complete, self.clock).service_routes(),
            *datasets.service_routes(),
            *self.documents.service_routes(datasets.of_one),
            *retrieval.service_routes(datasets.of_one),
        ]
        self.service = ServiceApi(state, keys, app_views, of_service)

    def _own_routes(self) -> list[Route]:
        features = {**canned_answers.FEATURES, "model_load_balancing_enabled": self.balancing}
        return [
            Route("GET", "/system-features", lambda _: ok(canned_answers.SYSTEM_FEATURES), open=True),
            Route("GET", "/features", lambda _: ok(features)),
            Route("GET", "/version", self._version, open=True),
        ]

    def _version(self, request: Request) -> Answer:
        if "current_version" not in request.query:
            text = "Validation error for parameter 'query'"
            return nested(422, "validation_error", text, details=text)
        answer = canned_answers.VERSION_ANSWER
        features = {**answer["features"], "model_load_balancing_enabled": self.balancing}
        return ok({**answer, "version": self.release, "features": features})

    def preinstall(self, provider: str) -> None:
        """Install the plugin of a provider at once."""
        self.plugins.preinstall(provider)

    def handle(self, method: str, target: str, headers: dict[str, str], body: Any) -> Answer:
        """Return the answer to a request: status, Set-Cookie values, decoded body (None: empty)."""
        for part in (self.plugins, self.annotations, self.documents):
            part.settle()
        url = urllib.parse.urlsplit(target)
        given = {name.lower(): value for name, value in headers.items()}
        path, document = urllib.parse.unquote(url.path), body if isinstance(body, dict) else {}
        request = Request(method, path, dict(urllib.parse.parse_qsl(url.query)), document, cookies_of(given))
        try:
            if path.startswith(SERVICE + "/"):
                return self.service.answer(request._replace(path=path[len(SERVICE) :]), given)
            if path.startswith(PREFIX + "/"):
                return self._console(request._replace(path=path[len(PREFIX) :]), given)
        except Invalid as refusal:
            return flat(400, "invalid_param", str(refusal))
        except DoubleBroken:
            return BROKEN
        if path == "/health":
            return ok({"pid": 1, "status": "ok", "version": self.release})
        return 404, [], NOT_FOUND_PAGE

    def route_of(self, method: str, target: str) -> str | None:
        """Return method and path of the route that a request fits, its parts by name; None where it fits none."""
        path = urllib.parse.unquote(urllib.parse.urlsplit(target).path)
        for prefix, routes in ((SERVICE, self.service.routes), (PREFIX, self.routes)):
            for route in routes if path.startswith(prefix + "/") else ():
                if route.method == method and route.names_in(path[len(prefix) :]) is not None:
                    return "%s %s%s" % (method, prefix, re.sub(r":[a-z]+\}", "}", route.path))
        return None

    def _console(self, request: Request, headers: dict[str, str]) -> Answer:
        """Answer a request of the console API; an administrator's key is the owner's login."""
        marked: list[str] = []

        def login(_: Route) -> JsonObject | Answer:
            if self._is_admin_key(headers) and self.state["admin"] is not None:
                owner: JsonObject = self.state["admin"]
                return owner
            account, cookies = self.account.who(headers, request.cookies)
            marked.extend(cookies)
            return account

        status, cookies, answer = answer_by(self.routes, request, login)
        return status, [*marked, *cookies], answer

    def _is_admin_key(self, headers: dict[str, str]) -> bool:
        shown = headers.get("authorization", "").removeprefix("Bearer ").strip()
        return (
            bool(self.admin_key) and shown == self.admin_key and headers.get("x-workspace-id") == self.state["tenant"]
        )
