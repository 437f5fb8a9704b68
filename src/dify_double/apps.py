"""Apps, knowledge bases and the service API, as far as the end-to-end check and the question of use need them.

None of it was recorded: paths, bodies and answers are those that Dify's documentation and web console use. A chat app
asks its model's endpoint for real, and so do speech models; a knowledge base finds every document that it has.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from .credential_forms import Invalid
from .json_object import JsonObject, State, new_id
from .model_providers import ProviderModels
from .routes import Answer, Request, Route, flat, ok
from .upstream import hear, speak

Complete = Callable[[str, "dict[str, str]", str, int], str]
EntryHandler = Callable[[State, Request], Answer]  # of one app or knowledge base


class Apps:
    """Apps and knowledge bases, over `state["apps"]`, `state["datasets"]` (both by id) and `state["keys"]` (token to
    app id, or "datasets").
    """

    def __init__(self, state: State, models: ProviderModels, complete: Complete | None) -> None:
        self.state, self.models, self.complete = state, models, complete
        for name in ("apps", "datasets", "keys"):
            state.setdefault(name, {})  # a state kept by an older double

    def routes(self) -> list[Route]:
        """Return the routes of apps and knowledge bases, the exact ones first."""
        routes = [
            Route("GET", "/apps", lambda _: self._page(self.state["apps"])),
            Route("GET", "/datasets", lambda _: self._page(self.state["datasets"])),
            Route("POST", "/apps", self._new_app),
            Route("POST", "/datasets/api-keys", lambda _: self._key("datasets")),
            Route("DELETE", "/datasets/api-keys/{key}", self._delete_key),
        ]
        for kind in ("apps", "datasets"):
            one = "/%s/{id}" % kind
            routes += [
                Route("GET", one, self._of(kind, lambda entry, _: ok(entry))),
                Route("DELETE", one, self._of(kind, partial(self._delete, kind))),
                Route("POST", one + "/model-config", self._of(kind, _configure)),
                Route("POST", one + "/api-enable", self._of(kind, _enable_api)),
                Route("POST", one + "/api-keys", self._of(kind, lambda entry, _: self._key(entry["id"]))),
                Route("GET", one + "/{rest:any}", self._of(kind, _workflow)),
            ]
        return routes

    def _of(self, kind: str, handler: EntryHandler) -> Callable[[Request], Answer]:
        """Return the handler of a route that names one app or knowledge base."""

        def checked(request: Request) -> Answer:
            entry = self.state[kind].get(request.names["id"])
            return handler(entry, request) if entry is not None else flat(404, "app_not_found", "App not found.")

        return checked

    def _new_app(self, request: Request) -> Answer:
        app: State = {
            "id": new_id(),
            "name": request.body["name"],
            "mode": request.body["mode"],
            "enable_api": False,
            "model_config": None,
        }
        self.state["apps"][app["id"]] = app
        return 201, [], app

    def _delete(self, kind: str, entry: State, _: Request) -> Answer:
        del self.state[kind][entry["id"]]
        self._keep_keys(lambda key: key["of"] != entry["id"])
        return 204, [], None

    def _delete_key(self, request: Request) -> Answer:
        self._keep_keys(lambda key: key["id"] != request.names["key"])
        return 204, [], None

    def _keep_keys(self, kept: Callable[[State], bool]) -> None:
        self.state["keys"] = {token: key for token, key in self.state["keys"].items() if kept(key)}

    def _key(self, of: str) -> Answer:
        token = ("dataset-" if of == "datasets" else "app-") + new_id().replace("-", "")
        self.state["keys"][token] = {"id": new_id(), "of": of}
        return 201, [], {"id": self.state["keys"][token]["id"], "type": "app", "token": token, "last_used_at": None}

    def _page(self, entries: State) -> Answer:
        listed = [{**entry, "model_config": None} for entry in entries.values()]
        return 200, [], {"data": listed, "has_more": False, "limit": 100, "page": 1, "total": len(listed)}

    # The service API

    def service(self, method: str, path: str, headers: dict[str, str], body: JsonObject) -> Answer:
        """Answer a request of the service API, below `/v1`."""
        shown = {name.lower(): value for name, value in headers.items()}.get("authorization", "")
        held = self.state["keys"].get(shown.removeprefix("Bearer ").strip())
        if held is None:
            return flat(401, "unauthorized", "Access token is invalid")
        app = self.state["apps"].get(held["of"])
        answering: dict[tuple[str, str], Callable[[], Answer]] = {
            ("POST", "/chat-messages"): lambda: self._chat(app, body),
            ("POST", "/audio-to-text"): lambda: self._hear(app, body),
            ("POST", "/text-to-audio"): lambda: self._speak(app, body),
            ("POST", "/datasets"): lambda: self._new_dataset(body),
        }
        try:
            return answering.get((method, path), lambda: self._knowledge(path, body))()
        except Invalid as refusal:
            return flat(400, "completion_request_error", str(refusal))

    def _credentials(self, provider: str, model: str, kind: str) -> dict[str, str]:
        entry = self.models.entry(provider, model, kind)
        if entry["current"] is None or not entry["enabled"] or provider not in self.models.installed():
            raise Invalid("Model %s credentials is not initialized." % model)
        values: dict[str, str] = self.models.credential(entry, entry["current"])["values"]
        return values

    def _chat(self, app: State, body: JsonObject) -> Answer:
        if not app["enable_api"]:
            return flat(403, "forbidden", "The app's API service has been disabled.")
        chosen = app["model_config"]["model"]
        values = self._credentials(chosen["provider"], chosen["name"], "llm")
        limit = int(chosen.get("completion_params", {}).get("max_tokens", 512))
        answer = self.complete(chosen["name"], values, body["query"], limit) if self.complete else ""
        return 200, [], {"event": "message", "message_id": new_id(), "mode": "chat", "answer": answer, "metadata": {}}

    def _speak(self, app: State, body: JsonObject) -> Answer:
        chosen = self._default(app, "tts", "text_to_speech")
        if isinstance(chosen, tuple):
            return chosen
        return ok(speak(chosen["model"], self._credentials(chosen["provider"], chosen["model"], "tts"), body["text"]))

    def _hear(self, app: State, body: JsonObject) -> Answer:
        chosen = self._default(app, "speech2text", "speech_to_text")
        if isinstance(chosen, tuple):
            return chosen
        values = self._credentials(chosen["provider"], chosen["model"], "speech2text")
        form = body["file"]
        if form["kind"] not in ("audio/mp3", "audio/m4a", "audio/wav", "audio/amr", "audio/mpga"):
            return flat(415, "unsupported_audio_type", "Audio type not allowed.")
        return ok({"text": hear(chosen["model"], values, form["name"], form["content"])})

    def _default(self, app: State, kind: str, feature: str) -> State | Answer:
        """Return the workspace's default model, whatever the app's own is; the app must have the feature switched on.
        Else the answer that says no.
        """
        if not app["enable_api"] or not app["model_config"][feature]["enabled"]:
            return flat(400, "invalid_param", "%s is not enabled" % feature.replace("_", " ").capitalize())
        chosen: State | None = self.state["defaults"].get(kind)
        return chosen or flat(400, "provider_not_initialize", "Default model not found for %s" % kind)

    def _new_dataset(self, body: JsonObject) -> Answer:
        self._credentials(body["embedding_model_provider"], body["embedding_model"], "text-embedding")
        dataset = {
            "id": new_id(),
            "name": body["name"],
            "documents": [],
            "embedding_model": body["embedding_model"],
            "embedding_model_provider": body["embedding_model_provider"],
        }
        self.state["datasets"][dataset["id"]] = dataset
        return ok(dataset)

    def _knowledge(self, path: str, body: JsonObject) -> Answer:
        parts = path.strip("/").split("/")
        dataset = self.state["datasets"].get(parts[1]) if len(parts) > 2 else None
        if dataset is None:
            return flat(404, "not_found", "Dataset not found.")
        named = (dataset["embedding_model_provider"], dataset["embedding_model"])
        self.models.ask(named[1], "text-embedding", self._credentials(*named, "text-embedding"))
        if parts[2:] == ["document", "create-by-text"]:
            dataset["documents"].append(body["text"])
            return 200, [], {"document": {"id": new_id()}, "batch": str(len(dataset["documents"]))}
        if parts[-1] == "indexing-status":
            return 200, [], {"data": [{"id": new_id(), "indexing_status": "completed", "error": None}]}
        chosen = body["retrieval_model"]["reranking_model"]
        if body["retrieval_model"]["reranking_enable"]:
            provider, model = chosen["reranking_provider_name"], chosen["reranking_model_name"]
            self.models.ask(model, "rerank", self._credentials(provider, model, "rerank"))
        return 200, [], {"records": [{"segment": {"content": text}, "score": 1.0} for text in dataset["documents"]]}


def _configure(app: State, request: Request) -> Answer:
    app["model_config"] = request.body
    return ok({"result": "success"})


def _enable_api(app: State, request: Request) -> Answer:
    app["enable_api"] = request.body["enable_api"]
    return ok(app)


def _workflow(app: State, request: Request) -> Answer:
    """Answer a workflow that a test has put there; nothing makes one here."""
    kind, _, name = request.names["rest"].rpartition("/")
    workflow = app.get("workflows", {}).get(name) if kind.startswith("workflows") else None
    return ok(workflow) if workflow is not None else flat(404, "draft_workflow_not_exist", "Not found.")
