"""The models of the site as Dify shall have them, from the settings: pure values."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from pydantic import BaseModel, ConfigDict, SecretStr

from steelyard.api.settings import HostVariables, settings_from
from steelyard.dify.account import Administrator
from steelyard.dify.client import DifyAccess, DifyClient
from steelyard.dify.desired_state import Credential, DesiredModel, DesiredState
from steelyard.dify.environment import wrong_secret
from steelyard.dify.vectors import Embedder, embedder_of
from steelyard.errors import SettingMissing, SettingWrong
from steelyard.inventory.fleet import Fleet
from steelyard.roles.gateway.settings import Settings as GatewaySettings
from steelyard.site.schema import Model
from steelyard.site.site import Site

from .settings import Settings

LONGEST_NAME = 30  # of a credential; Dify refuses longer ones
TOKENS = ("llm", "text-embedding", "rerank")


class Secrets(BaseModel):
    """The variable that `steelyard dify secrets` writes."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    dify_secrets: dict[str, SecretStr] = {}


def own_settings(variables: HostVariables) -> Settings:
    """The section, with the secrets of the variable `dify_secrets` under those of the section itself.

    Raises SettingWrong for one that would not arrive as it stands.
    """
    settings = settings_from(Settings, variables)
    kept = Secrets(dify_secrets=variables.get("dify_secrets") or {}).dify_secrets
    for name, secret in kept.items():
        allowed = wrong_secret(name, secret.get_secret_value())
        if allowed is not None:
            raise SettingWrong(where="dify_secrets", key=name, found="another value (hidden)", allowed=allowed)
    return settings.model_copy(update={"secrets": {**kept, **settings.secrets}})


def form_values(alias: str, model: Model, endpoint: str, key: str, name: str | None = None) -> dict[str, str]:
    """Values of the provider's form: every one is a string, or Dify answers 500."""
    assert model.dify is not None
    longest = model.serve.max_model_len if model.serve else None
    values = {
        "display_name": model.dify.label or alias,
        "endpoint_url": endpoint,
        "endpoint_model_name": name or alias,
        "api_key": key,
    }
    if model.dify.type in TOKENS:
        values["context_size"] = str(model.dify.context_size or longest or 4096)
    if model.dify.type == "llm":
        # required by Dify although they have defaults in its form; the delimiter is a written backslash-n
        values |= {
            "mode": "chat",
            "max_tokens_to_sample": str(model.dify.max_tokens),
            "stream_mode_delimiter": "\\n\\n",
        }
    elif model.dify.type == "text-embedding":
        values |= {"max_chunks": "1"}
    return {**values, **model.dify.credentials}


def wanted_model(
    alias: str, model: Model, wanted: Settings, endpoint: str, key: str, written: Callable[..., str]
) -> DesiredModel:
    """Return one model as Dify shall have it. Raises SettingWrong where a further endpoint has too long a name, or
    names a key that is not declared.
    """
    assert model.dify is not None
    credentials = []
    for name, declared in model.dify.further.items():
        if declared.key is not None and declared.key not in wanted.keys:
            where = written("further", name, "key")
            allowed = ", ".join(wanted.keys) or "a name of `dify.keys`"
            raise SettingWrong(where=where, key="key", found=declared.key, allowed=allowed)
        credential = f"{wanted.credential}-{name}"
        if len(credential) > LONGEST_NAME:
            allowed = f"with `{wanted.credential}-` before it, {LONGEST_NAME} letters at most"
            raise SettingWrong(where=written("further", name), key="further", found=name, allowed=allowed)
        shown = wanted.keys[declared.key].get_secret_value() if declared.key is not None else key
        values = form_values(alias, model, declared.endpoint, shown, declared.model)
        credentials.append(Credential(credential, values))
    values = form_values(alias, model, endpoint, key)
    kind, enabled, default = model.dify.type, model.dify.enabled, model.dify.default
    return DesiredModel(
        alias, kind, wanted.credential, values, tuple(credentials), enabled, default, partial(written, "credentials")
    )


def wanted_models(site: Site, wanted: Settings, gateway: GatewaySettings) -> tuple[DesiredModel, ...]:
    """Every declared model with an alias. Raises SettingWrong where two are the default of one type."""
    address = gateway.reached_at(site.address_of_group("gateway"))
    endpoint = wanted.endpoint or f"{gateway.scheme}://{address}:{gateway.port}/v1"
    client = gateway.clients.get(wanted.client)
    key = client.newest.key.get_secret_value() if client else ""
    models = tuple(
        wanted_model(model.alias, model, wanted, endpoint, key, partial(site.written, "models", project, "dify"))
        for project, model in site.models.items()
        if model.alias is not None and model.dify is not None
    )
    _refuse_two_defaults(site)
    return models


def embedders(site: Site) -> tuple[Embedder, ...]:
    """Return every declared embedding model, with what its version's vectors are like."""
    return tuple(
        embedder_of(
            model.alias, project, model.version, model.dify.vectors_as, site.written("models", project, "version")
        )
        for project, model in site.models.items()
        if model.alias is not None and model.dify is not None and model.dify.type == "text-embedding"
    )


def _refuse_two_defaults(site: Site) -> None:
    first: dict[str, str] = {}
    for project, model in site.models.items():
        if model.alias is None or model.dify is None or not model.dify.default:
            continue
        kind = model.dify.type
        if first.setdefault(kind, model.alias) != model.alias:
            where, two = site.written("models", project, "dify", "default"), f"{first[kind]} and {model.alias}"
            raise SettingWrong(where=where, key="dify.default", found=two, allowed=f"one model of type {kind}")


def access_of(wanted: Settings) -> DifyAccess:
    """Return the way to log in, from the settings; `url` must be set."""
    return DifyAccess(
        (wanted.url or "").rstrip("/"),
        wanted.email or "",
        wanted.password.get_secret_value() if wanted.password else "",
        wanted.admin_key.get_secret_value() if wanted.admin_key else None,
        wanted.workspace,
        wanted.release.version if wanted.release else None,
    )


def administrator(wanted: Settings) -> Administrator | None:
    """Return the owner of a fresh Dify; None with a key instead of a password, which only a Dify that is set up can
    have.
    """
    if wanted.email is None or wanted.password is None:
        return None
    init = wanted.secrets.get("INIT_PASSWORD")
    secret = init.get_secret_value() if init else ""
    return Administrator(wanted.email, wanted.name, wanted.password.get_secret_value(), wanted.language, secret)


def wanted_of(wanted: Settings, models: tuple[DesiredModel, ...], mark_key: str) -> DesiredState:
    """Return all that Dify shall have, without the marks that the host keeps; `mark_key` is the key of those."""
    secret = wanted.admin_key or wanted.password
    older = secret.get_secret_value() if secret else None
    return DesiredState(
        wanted.provider,
        wanted.credential,
        models,
        wanted.prune,
        wanted.remove_used,
        mark_key=mark_key,
        older_mark_key=older,
    )


def dify_settings(fleet: Fleet) -> Settings:
    """Return the settings of the fleet's Dify host. Raises SettingMissing where none is declared."""
    for member in fleet.in_group("dify"):
        wanted = own_settings(member.variables)
        if wanted.url is not None or wanted.release is not None:
            return wanted
    raise SettingMissing(where=str(fleet.path), key="dify.url", allowed="Dify's address, on a host of group `dify`")


def connection(fleet: Fleet) -> tuple[DifyClient, str]:
    """A client for the Dify of a fleet, and the provider declared. Raises SettingMissing where none is declared."""
    wanted = dify_settings(fleet)
    if wanted.url is None:
        raise SettingMissing(where=str(fleet.path), key="dify.url", allowed="Dify's address as this machine reaches it")
    return DifyClient(access_of(wanted)), wanted.provider
