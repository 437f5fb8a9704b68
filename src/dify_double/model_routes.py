"""Routes of model providers, their models and their credentials."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .canned_answers import parameter_rules
from .credential_forms import TYPE_NAMES, Invalid
from .json_object import JsonObject
from .model_providers import ProviderModels
from .model_views import ModelViews
from .routes import Answer, Request, Route, ok
from .validation import MODEL_TYPES, Complaints

PROVIDERS = "/workspaces/current/model-providers"
MODELS = PROVIDERS + "/{provider:any}/models"
DEFAULT = "/workspaces/current/default-model"
NAME_LIMIT = 30
TYPES = (*MODEL_TYPES, *TYPE_NAMES)

# what a change of this schema needs beside model and type
NEEDED = {
    "ParserCreateCredential": ("credentials",),
    "ParserUpdateCredential": ("credentials", "credential_id"),
    "ParserDeleteCredential": ("credential_id",),
    "ParserSwitch": ("credential_id",),
    "ParserValidate": ("credentials",),
}

Change = Callable[[str, JsonObject], Any]  # of a provider, by the body of a request


class ModelRoutes:
    """Handlers over the models of a workspace."""

    def __init__(self, models: ProviderModels, views: ModelViews) -> None:
        self.models, self.views = models, views

    def routes(self) -> list[Route]:
        """Return the routes, the exact ones first."""
        models = self.models
        removed = changing("ParserDeleteModels", 204, models.delete_model)
        return [
            Route("GET", PROVIDERS, self._providers),
            Route("GET", DEFAULT, self._default),
            Route("POST", DEFAULT, self._set_default),
            Route("GET", "/workspaces/current/models/model-types/{type}", self._of_type),
            Route("GET", MODELS, self._of_provider),
            Route("GET", MODELS + "/parameter-rules", self._parameter_rules),
            Route("GET", MODELS + "/credentials", self._credentials),
            Route("POST", MODELS + "/credentials", changing("ParserCreateCredential", 201, models.create)),
            Route("PUT", MODELS + "/credentials", changing("ParserUpdateCredential", 200, models.update)),
            Route("DELETE", MODELS + "/credentials", changing("ParserDeleteCredential", 204, models.delete_credential)),
            Route("POST", MODELS + "/credentials/switch", changing("ParserSwitch", 200, models.switch)),
            Route("POST", MODELS + "/credentials/validate", changing("ParserValidate", 200, models.validate)),
            Route("POST", MODELS, changing("ParserPostModels", 200, models.save_model)),
            Route("DELETE", MODELS, removed),
            Route("PATCH", MODELS + "/enable", changing("ParserDeleteModels", 200, models.enable)),
            Route("PATCH", MODELS + "/disable", changing("ParserDeleteModels", 200, models.disable)),
        ]

    def _providers(self, request: Request) -> Answer:
        views = [self.views.provider_view(provider) for provider in self.models.installed()]
        wanted = request.query.get("model_type")
        return ok({"data": [view for view in views if wanted is None or wanted in view["supported_model_types"]]})

    def _default(self, request: Request) -> Answer:
        """Name the default of a type: also one that was deleted, but none whose plugin is gone."""
        Complaints("ParserGetDefault", request.query).required("model_type").model_type().refuse()
        model_type = typed(request.query)["model_type"]
        chosen = self.models.state["defaults"].get(model_type)
        if chosen is None or chosen["provider"] not in self.models.installed():
            return ok({"data": None})
        provider = self.views.small_provider(chosen["provider"])
        return ok({"data": {"model": chosen["model"], "model_type": model_type, "provider": provider}})

    def _set_default(self, request: Request) -> Answer:
        Complaints("ParserPostDefault", request.body).required("model_settings").listing("model_settings").refuse()
        for setting in request.body["model_settings"]:
            complaints = Complaints("Inner", setting if isinstance(setting, dict) else {}).required("model_type")
            complaints.model_type().text("provider", "model", null=True).refuse()
        self.models.set_default([typed(setting) for setting in request.body["model_settings"]])
        return ok({"result": "success"})

    def _of_type(self, request: Request) -> Answer:
        model_type = request.names["type"]
        if model_type not in TYPES:
            raise Invalid("'%s' is not a valid ModelType" % model_type)
        return ok({"data": self.views.of_type(TYPE_NAMES.get(model_type, model_type))})

    def _of_provider(self, request: Request) -> Answer:
        provider = request.names["provider"]
        entries = self.models.of_provider(provider)
        small = self.views.small_provider
        return ok({"data": [{**self.views.view(entry), "provider": small(provider)} for entry in entries]})

    def _parameter_rules(self, request: Request) -> Answer:
        Complaints("ParserParameter", request.query).required("model").refuse()
        entry = self.models.entry(request.names["provider"], request.query["model"], "llm")
        values = self.models.credential(entry, entry["current"])["values"]
        return ok({"data": parameter_rules(int(values["max_tokens_to_sample"]))})

    def _credentials(self, request: Request) -> Answer:
        Complaints("ParserGetCredentials", request.query).required("model", "model_type").model_type().refuse()
        query = typed(request.query)
        provider, chosen = request.names["provider"], query.get("credential_id")
        return ok(self.views.credentials_view(provider, query["model"], query["model_type"], chosen))


def typed(given: JsonObject) -> JsonObject:
    """Return a body or query with the name of its model type as of today."""
    return {**given, "model_type": TYPE_NAMES.get(given["model_type"], given["model_type"])}


def changing(schema: str, status: int, change: Change) -> Callable[[Request], Answer]:
    """Return a handler that checks a body, makes a change, and answers with what the change returns or that it
    succeeded.
    """

    def handler(request: Request) -> Answer:
        body = request.body
        needed = NEEDED.get(schema, ())
        complaints = Complaints(schema, body).required("model", "model_type", *needed).text("model").model_type()
        if "credential_id" in needed:
            complaints.text("credential_id")
        complaints.mapping("credentials").mapping("load_balancing", null=True)
        complaints.longest("name", NAME_LIMIT).refuse()
        answer = change(request.names["provider"], typed(body))
        return status, [], None if status == 204 else answer or {"result": "success"}

    return handler
