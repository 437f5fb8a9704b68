"""Answers of apps to their users, over the service API: chat, workflows, and speech."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator

from .apps import CONFIGURED
from .clock import Clock
from .credential_forms import Invalid
from .json_object import JsonObject, State, new_id
from .model_providers import NotInitialized, ProviderModels
from .routes import Answer, EventStream, Generated, Request, Route, flat, ok
from .uploads import sent_file
from .upstream import Complete, EndpointFailed, hear, speak
from .validation import Complaints
from .workflow_run import WorkflowRun, priced

CHATS = ("chat", "agent-chat", "advanced-chat")
WRONG_MODE = "Please check if your app mode matches the right API route."
SOUNDS = ("audio/mp3", "audio/m4a", "audio/wav", "audio/amr", "audio/mpga")


class Chat:
    """Conversations over `state["conversations"]` (id to app and number of messages) and users of apps over
    `state["end_users"]`. A chat app's model is asked for real, and so are the models of a workflow.
    """

    def __init__(self, state: State, models: ProviderModels, complete: Complete, clock: Clock) -> None:
        self.state, self.models, self.complete, self.clock = state, models, complete, clock

    def service_routes(self) -> list[Route]:
        """Return the routes of the service API."""
        return [
            Route("POST", "/chat-messages", self._chat, key="app"),
            Route("POST", "/completion-messages", self._completion, key="app"),
            Route("POST", "/workflows/run", self._workflow, key="app"),
            Route("POST", "/audio-to-text", self._hear, key="app"),
            Route("POST", "/text-to-audio", self._speak, key="app"),
        ]

    def _chat(self, request: Request) -> Answer:
        app, body = request.account, request.body
        user(body)
        if app["mode"] not in CHATS:
            return flat(400, "not_chat_app", WRONG_MODE)
        Complaints("ChatRequestPayload", body).required("query").text("query").refuse()
        conversation = body.get("conversation_id") or new_id()
        if body.get("conversation_id") and body["conversation_id"] not in self.state["conversations"]:
            return flat(404, "not_found", "Conversation Not Exists.")
        held = self.state["conversations"].setdefault(conversation, {"app": app["id"], "messages": 0})
        held["messages"] += 1
        message = {"conversation_id": conversation, "message_id": new_id(), "created_at": self.clock.unix()}
        if app["mode"] == "advanced-chat":
            return self._advanced(app, body, message, held["messages"])
        model = (app.get("model_config") or {}).get("model") or {}
        try:
            values = self.models.credentials(model.get("provider", ""), model.get("name", ""), "llm")
        except NotInitialized as refusal:
            return flat(400, "provider_not_initialize", str(refusal))
        streamed = body.get("response_mode") == "streaming"
        options = {**model.get("completion_params", {}), **({"stream": True} if streamed else {})}
        messages = [{"role": "user", "content": body["query"]}]
        prompt = (app["model_config"].get("pre_prompt") or "").strip()
        if prompt:
            messages.insert(0, {"role": "system", "content": prompt})
        try:
            answer = self.complete(model["name"], values, messages, options)
        except EndpointFailed as failure:
            return failed(failure, message, streamed)
        if not streamed:
            usage = priced(answer.usage, streamed=False, timed=False, untimed=True)
            return ok(whole(app, message, answer.text, usage))
        common = {**message, "task_id": new_id(), "id": message["message_id"]}
        events: list[JsonObject] = [
            {"event": "message", **common, "answer": part, "from_variable_selector": []} for part in (*answer.parts, "")
        ]
        usage = priced(answer.usage, streamed=True, timed=False)
        metadata = {"retriever_resources": [], "usage": usage, "reasoning": {}}
        return ok(stream([*events, {"event": "message_end", **common, "metadata": metadata, "files": []}]))

    def _advanced(self, app: JsonObject, body: JsonObject, message: JsonObject, number: int) -> Answer:
        """Run the workflow of a chat app; the answer is what its answer node says."""
        system = {"sys.query": body["query"], "sys.files": [], "sys.user_id": user(body), "sys.dialogue_count": number}
        run = self._run_of(app, {**system, "sys.app_id": app["id"]})
        if run is None:
            return unavailable()
        inputs = body.get("inputs") or {}
        run.check(inputs)
        streamed = body.get("response_mode") == "streaming"
        common = {**message, "task_id": new_id()}
        try:
            events = list(self._of_chat(run, inputs, common, user(body), app))
        except EndpointFailed as failure:
            return failed(failure, message, streamed)
        if streamed:
            return ok(stream(events, ping=True))
        usage = {**run.usage, **priced(run.usage, streamed=False, timed=True)}
        return ok(whole(app, message, run.outputs["answer"], usage))

    def _of_chat(
        self, run: WorkflowRun, inputs: JsonObject, common: JsonObject, who: str, app: JsonObject
    ) -> Iterator[JsonObject]:
        """Yield the events of a chat's workflow: its own, and the message's among them."""
        of_message = {**common, "id": common["message_id"]}
        for kind, data in run.events(inputs):
            if kind == "text":
                part = {"answer": data["text"], "from_variable_selector": data["from_variable_selector"]}
                yield {"event": "message", **of_message, **part}
                continue
            if kind == "workflow_finished":
                metadata: JsonObject = {
                    "annotation_reply": None,
                    "retriever_resources": [],
                    "usage": run.usage,
                    "reasoning": {},
                }
                yield {"event": "message_end", **of_message, "metadata": metadata, "files": []}
                data = {**data, **self._ended(app, who)}
            yield {"event": kind, **common, "workflow_run_id": run.id, "data": data}

    def _run_of(self, app: JsonObject, system: JsonObject) -> WorkflowRun | None:
        """Return a run of an app's published workflow; None where nothing is published."""
        published = app.get("workflows", {}).get("publish")
        return None if published is None else WorkflowRun(published, self.models, self.complete, self.clock, system)

    def _ended(self, app: JsonObject, who: str) -> JsonObject:
        """Return what a stream says at a workflow's end, and a blocking answer does not."""
        known = self.state["end_users"].setdefault("|".join((app["id"], who)), new_id())
        return {"created_by": {"id": known, "user": who}, "exceptions_count": 0, "files": []}

    def _completion(self, request: Request) -> Answer:
        user(request.body)
        if request.account["mode"] != "completion":
            return flat(400, "app_unavailable", "App unavailable, please check your app configurations.")
        return self._chat(request._replace(account={**request.account, "mode": "chat"}))

    def _workflow(self, request: Request) -> Answer:
        app, body = request.account, request.body
        who = user(body)
        if app["mode"] != "workflow":
            return flat(400, "not_workflow_app", WRONG_MODE)
        Complaints("WorkflowRunPayload", body).required("inputs").mapping("inputs").refuse()
        run = self._run_of(app, {"sys.files": [], "sys.user_id": who, "sys.app_id": app["id"]})
        if run is None:
            return unavailable()
        run.check(body["inputs"])
        common = {"workflow_run_id": run.id, "task_id": new_id()}
        streamed = body.get("response_mode") == "streaming"
        try:
            happened = list(run.events(body["inputs"]))
        except EndpointFailed as failure:
            return failed(failure, {"created_at": self.clock.unix()}, streamed)
        if not streamed:
            return ok(Generated(task_id=common["task_id"], workflow_run_id=run.id, data=happened[-1][1]))
        happened[-1] = ("workflow_finished", {**happened[-1][1], **self._ended(app, who)})
        named = [("text_chunk" if kind == "text" else kind, data) for kind, data in happened]
        return ok(stream([{"event": kind, **common, "data": data} for kind, data in named], ping=True))

    def _speech(self, app: JsonObject, feature: str) -> bool:
        """Tell whether an app has a feature of speech switched on."""
        published = app.get("workflows", {}).get("publish") or {}
        config = app.get("model_config") if app["mode"] in CONFIGURED else published.get("features")
        return bool(((config or {}).get(feature) or {}).get("enabled"))

    def _default(self, kind: str) -> tuple[str, dict[str, str]]:
        """Return the workspace's default model of a kind and its credentials, whatever the app's own is. Raises
        Invalid.
        """
        chosen = self.state["defaults"].get(kind)
        if chosen is None:
            raise NotInitialized("Default model not found for %s" % kind)
        return chosen["model"], self.models.credentials(chosen["provider"], chosen["model"], kind)

    def _hear(self, request: Request) -> Answer:
        if not self._speech(request.account, "speech_to_text"):
            return flat(400, "speech_to_text_disabled", "Speech to text is disabled.")
        form = sent_file(request.body.get("file"))
        if form is None:
            return flat(400, "no_audio_uploaded", "Please upload your audio.")
        if form["kind"] not in SOUNDS:
            return flat(415, "unsupported_audio_type", "Audio type not allowed.")
        try:
            model, values = self._default("speech2text")
            return ok({"text": hear(model, values, form["name"], form["content"])})
        except NotInitialized as refusal:
            return flat(400, "provider_not_initialize", str(refusal))
        except EndpointFailed as failure:
            return failed(failure, {}, False)

    def _speak(self, request: Request) -> Answer:
        body = request.body
        if not self._speech(request.account, "text_to_speech"):
            raise Invalid("TTS is not enabled")
        if not body.get("text"):
            raise Invalid("Text is required")
        try:
            model, values = self._default("tts")
            return ok(speak(model, values, body["text"], body.get("voice") or "alloy"))
        except NotInitialized as refusal:
            return flat(400, "provider_not_initialize", str(refusal))
        except EndpointFailed as failure:
            return failed(failure, {}, False)


def user(body: JsonObject) -> str:
    """Return the name under which an app is used. Raises Invalid where there is none."""
    if not body.get("user"):
        raise Invalid("Arg user must be provided.")
    return str(body["user"])


def unavailable() -> Answer:
    """Return the refusal of an app that is not ready to be used."""
    return flat(400, "app_unavailable", "App unavailable, please check your app configurations.")


def metadata_of(usage: JsonObject) -> JsonObject:
    """Return what is said about an answer: what it cost, and nothing of annotations and sources."""
    return {"annotation_reply": None, "retriever_resources": [], "usage": usage, "reasoning": {}}


def whole(app: JsonObject, message: JsonObject, text: str, usage: JsonObject) -> JsonObject:
    """Return a blocking answer."""
    head = {"event": "message", "task_id": new_id(), "id": message["message_id"], **message}
    return Generated({**head, "mode": app["mode"], "answer": text, "metadata": metadata_of(usage)})


def failed(failure: EndpointFailed, message: JsonObject, streamed: bool) -> Answer:
    """Return what an app says when its model's endpoint fails: a stream has begun with 200 by then."""
    if streamed:
        error = {"code": "invalid_param", "status": 400, "message": failure.document()}
        return ok(stream([{"event": "error", **message, **error}]))
    refusal = "req_id: %s PluginInvokeError: %s" % (secrets.token_hex(5), failure.document())
    return flat(400, "invalid_param", refusal)


def stream(events: list[JsonObject], ping: bool = False) -> EventStream:
    """Return events as they go over the line."""
    written = "".join("data: %s\n\n" % json.dumps(event, separators=(",", ":")) for event in events)
    return EventStream(("event: ping\n\n" if ping else "") + written)
