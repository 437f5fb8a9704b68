"""Annotation replies of apps: answers kept for questions, found by an embedding model."""

from __future__ import annotations

from collections.abc import Callable

from .apps import ONE, Apps
from .credential_forms import Invalid
from .json_object import JsonObject, State, new_id
from .routes import Answer, Request, Route, flat, ok
from .validation import Complaints

REPLY = ONE + "/annotation-reply/{action}"
NONE: JsonObject = {"enabled": False, "id": None, "score_threshold": None, "embedding_model": None}
UNKNOWN = flat(404, "not_found", "App not found.")


class Annotations:
    """Settings over `app["annotation"]`, and the jobs that make them in `state["annotation_jobs"]`: each is done when
    somebody asks for anything.
    """

    def __init__(self, state: State, apps: Apps) -> None:
        self.state, self.apps = state, apps

    def routes(self) -> list[Route]:
        """Return the routes, which are there for every mode of app."""
        of_one: Callable[..., Callable[[Request], Answer]] = self.apps.of_one
        return [
            Route("GET", ONE + "/annotation-setting", of_one(self._setting, UNKNOWN)),
            Route("POST", REPLY, of_one(self._begin, UNKNOWN)),
            Route("GET", REPLY + "/status/{job:uuid}", of_one(self._status, UNKNOWN)),
        ]

    def _setting(self, app: JsonObject, _: Request) -> Answer:
        annotation = app.get("annotation")
        return ok(NONE if annotation is None else annotation)

    def _begin(self, app: JsonObject, request: Request) -> Answer:
        """Begin to switch annotation replies on or off; either wants the whole setting."""
        body, names = request.body, ("embedding_provider_name", "embedding_model_name")
        Complaints("AnnotationReplyPayload", body).required("score_threshold", *names).refuse()
        if request.names["action"] not in ("enable", "disable"):
            raise Invalid("Unsupported annotation reply action")
        job: JsonObject = {"id": new_id(), "app": app["id"], "setting": None}
        if request.names["action"] == "enable":
            chosen = {name: body[name] for name in names}
            setting = {"id": new_id(), "enabled": True, "score_threshold": body["score_threshold"]}
            job["setting"] = {**setting, "embedding_model": chosen}
        self.state["annotation_jobs"].append(job)
        return ok({"job_id": job["id"], "job_status": "waiting"})

    def settle(self) -> None:
        """Do what was begun; before every request, as the worker works on its own."""
        for job in self.state["annotation_jobs"]:
            if not job.get("done"):
                job["done"] = True
                app = self.state["apps"].get(job["app"])
                if app is not None:
                    app["annotation"] = job["setting"]

    def _status(self, _: JsonObject, request: Request) -> Answer:
        job = next((known for known in self.state["annotation_jobs"] if known["id"] == request.names["job"]), None)
        if job is None:
            return flat(400, "invalid_param", "The job does not exist.")
        return ok({"job_id": job["id"], "job_status": "completed", "error_msg": ""})
