"""Workflows of apps: the draft that the editor saves, and what is published of it."""

from __future__ import annotations

import hashlib
import json

from .app_views import OFF
from .apps import ONE, Apps, unsupported
from .clock import Clock
from .json_object import JsonObject, new_id
from .routes import Answer, Request, Route, flat, ok
from .validation import Complaints

MODES = ("workflow", "advanced-chat")
NO_DRAFT = flat(404, "draft_workflow_not_exist", "Draft workflow need to be initialized.")
FEATURES: JsonObject = {
    "file_upload": {},
    "opening_statement": "",
    "suggested_questions": [],
    "suggested_questions_after_answer": OFF,
    "speech_to_text": OFF,
    "text_to_speech": {"enabled": False, "voice": "", "language": ""},
    "retriever_resource": OFF,
    "sensitive_word_avoidance": OFF,
}


class Workflows:
    """Drafts and published workflows over `app["workflows"]`."""

    def __init__(self, apps: Apps, clock: Clock) -> None:
        self.apps, self.clock = apps, clock

    def routes(self) -> list[Route]:
        """Return the routes, which are there for apps that have a workflow."""
        path, of_one = ONE + "/workflows", self.apps.of_one
        return [
            Route("GET", path + "/draft", of_one(self._draft)),
            Route("POST", path + "/draft", of_one(self._save)),
            Route("GET", path + "/publish", of_one(self._published)),
            Route("POST", path + "/publish", of_one(self._publish)),
        ]

    def _draft(self, app: JsonObject, _: Request) -> Answer:
        if app["mode"] not in MODES:
            return unsupported(MODES)
        draft = app.get("workflows", {}).get("draft")
        return NO_DRAFT if draft is None else ok(draft)

    def _published(self, app: JsonObject, _: Request) -> Answer:
        """Return what is published; null where nothing is."""
        if app["mode"] not in MODES:
            return unsupported(MODES)
        return ok(app.get("workflows", {}).get("publish"))

    def _save(self, app: JsonObject, request: Request) -> Answer:
        if app["mode"] not in MODES:
            return unsupported(MODES)
        body, at = request.body, self.clock.unix()
        complaints = Complaints("SyncDraftWorkflowPayload", body).required("graph", "features")
        complaints.mapping("graph").mapping("features").refuse()
        before = app.setdefault("workflows", {}).get("draft")
        draft = {
            "id": before["id"] if before is not None else new_id(),
            "graph": body["graph"],
            "features": {**FEATURES, **body["features"]},
            "hash": hashlib.sha256(json.dumps(body["graph"], sort_keys=True).encode()).hexdigest(),
            "version": "draft",
            "marked_name": "",
            "marked_comment": "",
            "created_by": author(request.account),
            "created_at": before["created_at"] if before is not None else at,
            "updated_by": author(request.account) if before is not None else None,
            "updated_at": at,
            "tool_published": False,
            "environment_variables": body.get("environment_variables") or [],
            "conversation_variables": body.get("conversation_variables") or [],
            "rag_pipeline_variables": [],
        }
        app["workflows"]["draft"] = draft
        return ok({"result": "success", "hash": draft["hash"], "updated_at": at})

    def _publish(self, app: JsonObject, request: Request) -> Answer:
        """Publish the draft as a version of its own, with an id of its own."""
        if app["mode"] not in MODES:
            return unsupported(MODES)
        draft, at = app.get("workflows", {}).get("draft"), self.clock.unix()
        if draft is None:
            return NO_DRAFT
        named = {name: request.body.get(name) or "" for name in ("marked_name", "marked_comment")}
        made = {"id": new_id(), "version": self.clock.version(), "created_by": author(request.account)}
        app["workflows"]["publish"] = {**draft, **named, **made, "created_at": at, "updated_by": None, "updated_at": at}
        app["updated"] = at
        return ok({"result": "success", "created_at": at})


def author(account: JsonObject) -> JsonObject:
    """Return an account as workflows name who made them."""
    return {name: account[name] for name in ("id", "name", "email")}
