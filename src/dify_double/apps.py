"""Apps: made, configured, listed, switched and removed by the console."""

from __future__ import annotations

import secrets
from collections.abc import Callable

from .api_keys import LETTERS, ApiKeys
from .app_views import CONFIG, AppViews, configured
from .clock import Clock
from .credential_forms import Invalid
from .json_object import JsonObject, State, new_id
from .model_providers import ProviderModels
from .routes import Answer, Request, Route, flat, gone, ok
from .validation import Complaints, page_of

ONE = "/apps/{app:uuid}"
MODES = ("chat", "agent-chat", "advanced-chat", "workflow", "completion")
CONFIGURED = ("completion", "agent-chat", "chat")  # modes that have a configuration; the others have a workflow
UNKNOWN = flat(404, "app_not_found", "App not found.")
# what Dify's own template names where the workspace has no default model
NO_DEFAULT = {"provider": "langgenius/openai/openai", "name": "gpt-4o", "mode": "chat", "completion_params": {}}
Handler = Callable[[JsonObject, Request], Answer]  # of one app


class Apps:
    """Apps over `state["apps"]`, by id."""

    def __init__(self, state: State, models: ProviderModels, keys: ApiKeys, clock: Clock, views: AppViews) -> None:
        self.state, self.models, self.keys, self.clock, self.views = state, models, keys, clock, views

    def routes(self) -> list[Route]:
        """Return the routes of apps."""
        keys = ONE + "/api-keys"
        return [
            Route("GET", "/apps", self._list),
            Route("POST", "/apps", self._create),
            Route("GET", ONE, self.of_one(lambda app, _: ok(self.views.detail(app)))),
            Route("DELETE", ONE, self.of_one(self._delete)),
            Route("POST", ONE + "/model-config", self.of_one(self._configure)),
            Route("POST", ONE + "/api-enable", self.of_one(self._enable_api)),
            Route("GET", keys, self._of_keys(lambda app, _: self.keys.listed(app["id"]))),
            Route("POST", keys, self._of_keys(lambda app, _: self.keys.create(app["id"], 201))),
            Route("DELETE", keys + "/{key:uuid}", self._of_keys(self._delete_key)),
        ]

    def of_one(self, handler: Handler, unknown: Answer = UNKNOWN) -> Callable[[Request], Answer]:
        """Return the handler of a route that names one app."""

        def checked(request: Request) -> Answer:
            app = self.state["apps"].get(request.names["app"])
            return handler(app, request) if app is not None else unknown

        return checked

    def _of_keys(self, handler: Handler) -> Callable[[Request], Answer]:
        """Return the handler of a route of keys, which tells of an unknown app in another shape."""
        return self.of_one(handler, (404, [], {"message": "App not found."}))

    def _list(self, request: Request) -> Answer:
        """List apps, the newest first; those of the same second in the order in which they were made."""
        query = request.query
        Complaints("AppListQuery", query).between("page", 1, 99999).between("limit", 1, 100).refuse()
        page, limit = int(query.get("page", 1)), int(query.get("limit", 20))
        mode, name = query.get("mode", "all"), query.get("name", "").lower()
        chosen = [
            app
            for app in sorted(self.state["apps"].values(), key=lambda app: -app.get("at", 0))
            if mode in ("all", app["mode"]) and name in app["name"].lower()
        ]
        entries, more = page_of(chosen, page, limit)
        shown = [self.views.listed(app) for app in entries]
        return ok({"page": page, "limit": limit, "total": len(chosen), "has_more": more, "data": shown})

    def _create(self, request: Request) -> Answer:
        body = request.body
        complaints = Complaints("CreateAppPayload", body).required("name", "mode")
        complaints.one_of("mode", MODES, "literal_error").text("name").longest("description", 400).refuse()
        by, at = request.account["id"], self.clock.unix()
        config = None
        if body["mode"] in CONFIGURED:
            made = {"created_by": by, "created_at": at, "updated_by": by, "updated_at": at}
            config = {**CONFIG, "model": self._default_model(), **made}
        app: JsonObject = {
            "id": new_id(),
            "name": body["name"],
            "description": body.get("description") or "",
            "mode": body["mode"],
            "icon_type": body.get("icon_type"),
            "icon": body.get("icon"),
            "icon_background": body.get("icon_background"),
            "enable_api": True,
            "enable_site": True,
            "model_config": config,
            "annotation": None,
            "workflows": {},
            "created_by": by,
            "at": at,
            "code": "".join(secrets.choice(LETTERS) for _ in range(16)),
        }
        self.state["apps"][app["id"]] = app
        return 201, [], self.views.detail(app)

    def _default_model(self) -> JsonObject:
        """Return the workspace's default llm as a new app names it."""
        default = self.state["defaults"].get("llm")
        if default is None or not self.models.usable(default["provider"], default["model"], "llm"):
            return dict(NO_DEFAULT)
        mode = self.models.credentials(default["provider"], default["model"], "llm").get("mode", "chat")
        return {"provider": default["provider"], "name": default["model"], "mode": mode, "completion_params": {}}

    def _delete(self, app: JsonObject, _: Request) -> Answer:
        del self.state["apps"][app["id"]]
        self.keys.delete_all(app["id"])
        return gone()

    def _delete_key(self, app: JsonObject, request: Request) -> Answer:
        return self.keys.delete(app["id"], request.names["key"])

    def _configure(self, app: JsonObject, request: Request) -> Answer:
        """Take a configuration whose model is one of the workspace's; `model` alone is enough."""
        if app["mode"] not in CONFIGURED:
            return unsupported(CONFIGURED)
        model = request.body.get("model")
        if not isinstance(model, dict):
            raise Invalid("model is required")
        providers = self.models.installed()
        if model.get("provider") not in providers:
            raise Invalid("model.provider is required and must be in %s" % providers)
        known = [entry["model"] for entry in self.models.of_provider(model["provider"]) if entry["type"] == "llm"]
        if model.get("name") not in known:
            raise Invalid("model.name must be in the specified model list")
        app["model_config"] = configured(request.body, request.account["id"], self.clock.unix())
        app["updated"] = self.clock.unix()
        return ok({"result": "success"})

    def _enable_api(self, app: JsonObject, request: Request) -> Answer:
        Complaints("AppApiStatusPayload", request.body).required("enable_api").refuse()
        app["enable_api"] = request.body["enable_api"]
        return ok(self.views.switched(app))


def unsupported(modes: tuple[str, ...]) -> Answer:
    """Return the refusal of a route that is for apps of other modes."""
    listed = ", ".join("'%s'" % mode for mode in modes)
    return flat(404, "app_not_found", "App mode is not in the supported list: {%s}." % listed)
