"""Apps, knowledge bases and the service API, as far as the end-to-end check and the question of use need them.

None of it was recorded: paths, bodies and answers are those that Dify's documentation and web console use. A chat app
asks its model's endpoint for real, and so do speech models; a knowledge base finds every document that it has.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from .account import Answer, flat
from .endpoint import hear, speak
from .forms import Invalid
from .models import Models, State, new_id

Complete = Callable[[str, "dict[str, str]", str, int], str]


class Apps:
    """Works on `state["apps"]`, `state["datasets"]` (both by id) and `state["keys"]` (token to app id, or "datasets")."""

    def __init__(self, state: State, models: Models, complete: Complete | None) -> None:
        self.state, self.models, self.complete = state, models, complete
        for name in ("apps", "datasets", "keys"):
            state.setdefault(name, {})  # a state kept by an older double

    def console(self, method: str, path: str, query: dict[str, str], body: dict[str, Any]) -> Answer:
        if (method, path) == ("GET", "/apps"):
            return self._page(self.state["apps"])
        if (method, path) == ("GET", "/datasets"):
            return self._page(self.state["datasets"])
        if (method, path) == ("POST", "/apps"):
            app: State = {"id": new_id(), "name": body["name"], "mode": body["mode"], "enable_api": False, "model_config": None}
            self.state["apps"][app["id"]] = app
            return 201, [], app
        if (method, path) == ("POST", "/datasets/api-keys"):
            return self._key("datasets")
        if method == "DELETE" and path.startswith("/datasets/api-keys/"):
            self.state["keys"] = {token: k for token, k in self.state["keys"].items() if k["id"] != path.rsplit("/", 1)[1]}
            return 204, [], None
        named = re.match(r"^/(apps|datasets)/([0-9a-f-]{36})(/.*)?$", path)
        if named is None or named[2] not in self.state[named[1]]:
            return flat(404, "app_not_found", "App not found.")
        return self._one(method, named[1], self.state[named[1]][named[2]], named[3] or "", body)

    def _one(self, method: str, kind: str, entry: State, rest: str, body: dict[str, Any]) -> Answer:
        if (method, rest) == ("GET", ""):
            return 200, [], entry
        if (method, rest) == ("DELETE", ""):
            del self.state[kind][entry["id"]]
            self.state["keys"] = {token: k for token, k in self.state["keys"].items() if k["of"] != entry["id"]}
            return 204, [], None
        if (method, rest) == ("POST", "/model-config"):
            entry["model_config"] = body
            return 200, [], {"result": "success"}
        if (method, rest) == ("POST", "/api-enable"):
            entry["enable_api"] = body["enable_api"]
            return 200, [], entry
        if (method, rest) == ("POST", "/api-keys"):
            return self._key(entry["id"])
        workflow = entry.get("workflows", {}).get(rest.rpartition("/")[2]) if rest.startswith("/workflows/") else None
        return (200, [], workflow) if workflow is not None else flat(404, "draft_workflow_not_exist", "Not found.")

    def _key(self, of: str) -> Answer:
        token = ("dataset-" if of == "datasets" else "app-") + new_id().replace("-", "")
        self.state["keys"][token] = {"id": new_id(), "of": of}
        return 201, [], {"id": self.state["keys"][token]["id"], "type": "app", "token": token, "last_used_at": None}

    def _page(self, entries: State) -> Answer:
        listed = [{**each, "model_config": None} for each in entries.values()]
        return 200, [], {"data": listed, "has_more": False, "limit": 100, "page": 1, "total": len(listed)}

    # The service API

    def service(self, method: str, path: str, headers: dict[str, str], body: dict[str, Any]) -> Answer:
        shown = {name.lower(): value for name, value in headers.items()}.get("authorization", "")
        held = self.state["keys"].get(shown.removeprefix("Bearer ").strip())
        if held is None:
            return flat(401, "unauthorized", "Access token is invalid")
        try:
            if (method, path) == ("POST", "/chat-messages"):
                return self._chat(self.state["apps"][held["of"]], body)
            if (method, path) in (("POST", "/audio-to-text"), ("POST", "/text-to-audio")):
                return self._speech(self.state["apps"][held["of"]], path, body)
            return self._knowledge(method, path, body)
        except Invalid as refusal:
            return flat(400, "completion_request_error", str(refusal))

    def _credentials(self, provider: str, model: str, kind: str) -> dict[str, str]:
        entry = self.models.entry(provider, model, kind)
        if entry["current"] is None or not entry["enabled"] or provider not in self.models.installed():
            raise Invalid("Model %s credentials is not initialized." % model)
        found: dict[str, str] = self.models.credential(entry, entry["current"])["values"]
        return found

    def _chat(self, app: State, body: dict[str, Any]) -> Answer:
        if not app["enable_api"]:
            return flat(403, "forbidden", "The app's API service has been disabled.")
        chosen = app["model_config"]["model"]
        values = self._credentials(chosen["provider"], chosen["name"], "llm")
        limit = int(chosen.get("completion_params", {}).get("max_tokens", 512))
        answer = self.complete(chosen["name"], values, body["query"], limit) if self.complete else ""
        return 200, [], {"event": "message", "message_id": new_id(), "mode": "chat", "answer": answer, "metadata": {}}

    def _speech(self, app: State, path: str, body: dict[str, Any]) -> Answer:
        """By the workspace's default model, whatever the app's own is; the app must have it switched on."""
        kind, feature = ("tts", "text_to_speech") if path == "/text-to-audio" else ("speech2text", "speech_to_text")
        if not app["enable_api"] or not app["model_config"][feature]["enabled"]:
            return flat(400, "invalid_param", "%s is not enabled" % feature.replace("_", " ").capitalize())
        chosen = self.state["defaults"].get(kind)
        if chosen is None:
            return flat(400, "provider_not_initialize", "Default model not found for %s" % kind)
        values = self._credentials(chosen["provider"], chosen["model"], kind)
        if kind == "tts":
            return 200, [], speak(chosen["model"], values, body["text"])
        form = body["file"]
        if form["kind"] not in ("audio/mp3", "audio/m4a", "audio/wav", "audio/amr", "audio/mpga"):
            return flat(415, "unsupported_audio_type", "Audio type not allowed.")
        return 200, [], {"text": hear(chosen["model"], values, form["name"], form["content"])}

    def _knowledge(self, method: str, path: str, body: dict[str, Any]) -> Answer:
        if (method, path) == ("POST", "/datasets"):
            self._credentials(body["embedding_model_provider"], body["embedding_model"], "text-embedding")
            made = {"id": new_id(), "name": body["name"], "documents": [], "embedding_model": body["embedding_model"],
                    "embedding_model_provider": body["embedding_model_provider"]}  # fmt: skip
            self.state["datasets"][made["id"]] = made
            return 200, [], made
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
