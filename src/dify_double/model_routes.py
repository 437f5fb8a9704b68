"""Routes of model providers, their models and their credentials."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .canned_answers import parameter_rules
from .credential_forms import TYPE_NAMES, Invalid
from .json_object import JsonObject
from .model_providers import ProviderModels
from .routes import Answer, Request, Route, ok

PROVIDERS = "/workspaces/current/model-providers"
MODELS = PROVIDERS + "/{provider:any}/models"
NAME_LIMIT = 30
NAME_TOO_LONG = "1 validation error for ParserCreateCredential\nname\n  String should have at most 30 characters"
NO_CREDENTIAL = "1 validation error for ParserDeleteCredential\ncredential_id\n  Input should be a valid string"

Change = Callable[[str, JsonObject], Any]  # of a provider, by the body of a request


class ModelRoutes:
    """Handlers over the models of a workspace."""

    def __init__(self, models: ProviderModels) -> None:
        self.models = models

    def routes(self) -> list[Route]:
        """Return the routes, the exact ones first."""
        models = self.models
        return [
            Route("GET", PROVIDERS, self._providers),
            Route("GET", "/workspaces/current/default-model", self._default),
            Route("POST", "/workspaces/current/default-model", self._set_default),
            Route("", "/workspaces/current/models/model-types/{type}", self._of_type),
            Route("GET", MODELS, self._of_provider),
            Route("", MODELS + "/parameter-rules", self._parameter_rules),
            Route("GET", MODELS + "/credentials", self._credentials),
            Route("POST", MODELS + "/credentials", changing(201, _named(models.create))),
            Route("PUT", MODELS + "/credentials", changing(200, _named(models.update))),
            Route("DELETE", MODELS + "/credentials", changing(204, _identified(models.delete_credential))),
            Route("POST", MODELS + "/credentials/switch", changing(200, models.switch)),
            Route("POST", MODELS + "/credentials/validate", changing(200, models.validate)),
            Route("POST", MODELS, changing(200, models.save_model)),
            Route("DELETE", MODELS, changing(204, models.delete_model)),
            Route("PATCH", MODELS + "/enable", changing(200, models.enable)),
            Route("PATCH", MODELS + "/disable", changing(200, models.disable)),
        ]

    def _providers(self, request: Request) -> Answer:
        views = [self.models.provider_view(provider) for provider in self.models.installed()]
        wanted = request.query.get("model_type", "llm")
        return ok({"data": [view for view in views if wanted in view["supported_model_types"]]})

    def _default(self, request: Request) -> Answer:
        model_type = request.query["model_type"]
        chosen = self.models.state["defaults"].get(model_type)
        if chosen is None:
            return ok({"data": None})
        provider = self.models.small_provider(chosen["provider"])
        return ok({"data": {"model": chosen["model"], "model_type": model_type, "provider": provider}})

    def _set_default(self, request: Request) -> Answer:
        self.models.set_default(request.body["model_settings"])
        return ok({"result": "success"})

    def _of_type(self, request: Request) -> Answer:
        return ok({"data": self.models.of_type(request.names["type"])})

    def _of_provider(self, request: Request) -> Answer:
        provider = request.names["provider"]
        entries = self.models.of_provider(provider)
        small = self.models.small_provider
        return ok({"data": [{**self.models.view(entry), "provider": small(provider)} for entry in entries]})

    def _parameter_rules(self, request: Request) -> Answer:
        entry = self.models.entry(request.names["provider"], request.query["model"], "llm")
        values = self.models.credential(entry, entry["current"])["values"]
        return ok({"data": parameter_rules(int(values["max_tokens_to_sample"]))})

    def _credentials(self, request: Request) -> Answer:
        query = request.query
        return ok(
            self.models.credentials_view(
                request.names["provider"], query["model"], query["model_type"], query.get("credential_id")
            )
        )


def changing(status: int, change: Change) -> Callable[[Request], Answer]:
    """Return a handler that makes a change, and answers with what the change returns or that it succeeded."""

    def handler(request: Request) -> Answer:
        body = request.body
        if "model_type" in body:
            body = {**body, "model_type": TYPE_NAMES.get(body["model_type"], body["model_type"])}
        answer = change(request.names["provider"], body)
        return status, [], None if status == 204 else answer or {"result": "success"}

    return handler


def _named(change: Change) -> Change:
    def checked(provider: str, body: JsonObject) -> Any:
        if len(body.get("name") or "") > NAME_LIMIT:
            raise Invalid(NAME_TOO_LONG)
        return change(provider, body)

    return checked


def _identified(change: Change) -> Change:
    def checked(provider: str, body: JsonObject) -> Any:
        if not isinstance(body.get("credential_id"), str):
            raise Invalid(NO_CREDENTIAL)
        return change(provider, body)

    return checked
