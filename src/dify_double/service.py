"""The service API, below `/v1`: what the keys of apps and of knowledge bases open."""

from __future__ import annotations

from .api_keys import DATASETS, ApiKeys
from .app_views import AppViews
from .json_object import JsonObject, State
from .routes import Answer, Request, Route, answer_by, flat, ok

WRONG_KEY = flat(401, "unauthorized", "Access token is invalid")
NO_KEY = flat(401, "unauthorized", "Authorization header must be provided and start with 'Bearer'")


class ServiceApi:
    """The service API over the routes that it is given, and its own about an app."""

    def __init__(self, state: State, keys: ApiKeys, views: AppViews, routes: list[Route]) -> None:
        self.state, self.keys, self.views = state, keys, views
        self.routes = [
            Route("GET", "/info", self._info, key="app"),
            Route("GET", "/parameters", lambda request: ok(views.parameters(request.account)), key="app"),
            Route("GET", "/meta", lambda _: ok({"tool_icons": {}}), key="app"),
            Route("GET", "/site", lambda request: ok(views.site_for_users(request.account)), key="app"),
            *routes,
        ]

    def answer(self, request: Request, headers: dict[str, str]) -> Answer:
        """Answer a request; its path is what follows `/v1`."""

        def login(route: Route) -> JsonObject | Answer:
            return self._shown(headers.get("authorization", ""), route.key)

        return answer_by(self.routes, request, login)

    def _shown(self, authorization: str, kind: str) -> JsonObject | Answer:
        """Return the app whose key was shown, or the owner for a key of knowledge bases; else the refusal."""
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            return NO_KEY
        of = self.keys.owner_of(token.strip())
        if of == DATASETS:
            owner: JsonObject = self.state["admin"]
            return owner if kind == "dataset" else WRONG_KEY
        app: JsonObject | None = self.state["apps"].get(of)
        if app is None or kind != "app":
            return WRONG_KEY
        if not app.get("enable_api", True):
            return flat(403, "forbidden", "The app's API service has been disabled.")
        return app

    def _info(self, request: Request) -> Answer:
        app = request.account
        about = {"name": app["name"], "description": app.get("description", ""), "tags": [], "mode": app["mode"]}
        return ok({**about, "author_name": self.views.author(app)})
