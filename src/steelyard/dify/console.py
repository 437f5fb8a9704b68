"""Objects of Dify's console API, as far as they are read here; Dify adds keys of its own to each."""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict


class ListedModel(TypedDict):
    """A model of a provider as Dify lists it; `status` is active, disabled or another word of Dify's.

    `fetch_from` is customizable-model of one that somebody added; `label` is by language, as `en_US`; a property of
    interest is `context_size`.
    """

    model: str
    model_type: str
    status: str
    fetch_from: NotRequired[str]
    model_properties: dict[str, Any]
    label: dict[str, str]


class NamedCredential(TypedDict):
    """A credential of a model that Dify keeps under a name."""

    credential_id: str
    credential_name: str


class BalancedCredential(TypedDict):
    """A credential that shares a model's requests, where `enabled`; one of an older release has no `credential_id`."""

    id: NotRequired[str | None]
    credential_id: NotRequired[str | None]
    name: str
    enabled: bool


class LoadBalancing(TypedDict):
    """The way in which Dify spreads the requests of a model over its credentials."""

    enabled: bool
    configs: list[BalancedCredential]


class CredentialsView(TypedDict):
    """Credentials of one model. `credentials` are the values of the one in use, or of the one asked for."""

    available_credentials: list[NamedCredential]
    current_credential_id: str | None
    current_credential_name: str | None
    credentials: dict[str, Any]
    load_balancing: LoadBalancing


class CustomModel(TypedDict):
    """A model that somebody added to a provider, with its credentials."""

    model: str
    model_type: str
    available_model_credentials: list[NamedCredential] | None


class CustomConfiguration(TypedDict, total=False):
    """The models that were added to a provider, and the credentials of its own form."""

    available_credentials: list[NamedCredential] | None
    custom_models: list[CustomModel] | None


class CredentialSchema(TypedDict, total=False):
    """The form that a provider's models are registered with, field by field."""

    credential_form_schemas: list[dict[str, Any]] | None


class Provider(TypedDict, total=False):
    """A provider as Dify lists it."""

    provider: str
    custom_configuration: CustomConfiguration | None
    model_credential_schema: CredentialSchema | None
