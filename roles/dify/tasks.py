"""Brings Dify to the declared models: registered by name, pointing at gateway aliases, repaired where somebody changed them."""

from __future__ import annotations

from pyinfra.api.deploy import deploy
from pyinfra.context import host

from steelyard.dify.client import DifyAccess, DifyClient
from steelyard.dify.reconcile import WantedModel
from steelyard.errors import SettingMissing
from steelyard.inventory.fleet import Fleet
from steelyard.modules.operations.dify import registered
from steelyard.roles.gateway.settings import Settings as GatewaySettings
from steelyard.settings import settings_from
from steelyard.site import Model, Site

from .settings import Settings


def wanted_model(alias: str, model: Model, wanted: Settings, endpoint: str, key: str) -> WantedModel:
    """What Dify shall hold of a model: every credential value is a string, or Dify answers 500."""
    assert model.dify is not None
    longest = model.serve.max_model_len if model.serve else None
    fields: dict[str, str] = {
        "display_name": model.dify.label or alias,
        "endpoint_url": endpoint,
        "endpoint_model_name": alias,
        "api_key": key,
        "context_size": str(model.dify.context_size or longest or 4096),
    }
    if model.dify.type == "llm":
        # required by Dify although they have defaults in its form; the delimiter is a written backslash-n
        fields |= {"mode": "chat", "max_tokens_to_sample": str(model.dify.max_tokens), "stream_mode_delimiter": "\\n\\n"}
    elif model.dify.type == "text-embedding":
        fields |= {"max_chunks": "1"}
    return WantedModel(alias, model.dify.type, wanted.credential, {**fields, **model.dify.credentials})


def access_of(wanted: Settings) -> DifyAccess:
    """How to log in, from the settings; `url` must be set."""
    return DifyAccess(
        (wanted.url or "").rstrip("/"),
        wanted.email or "",
        wanted.password.get_secret_value() if wanted.password else "",
        wanted.admin_key.get_secret_value() if wanted.admin_key else None,
        wanted.workspace,
    )


def connection(fleet: Fleet) -> tuple[DifyClient, str]:
    """A client for the Dify of a fleet, and the provider declared. Raises SettingMissing where none is declared."""
    for member in fleet.in_group("dify"):
        wanted = settings_from(Settings, member.variables)
        if wanted.url is not None:
            return DifyClient(access_of(wanted)), wanted.provider
    raise SettingMissing(where=str(fleet.path), key="dify.url", allowed="Dify's address, on a host of group `dify`")


@deploy("dify")
def dify() -> None:
    """One task: the whole registration is compared and mended over one login."""
    site: Site = host.data.site
    wanted = settings_from(Settings, host.data)
    names = site.groups.get("dify", ())
    if wanted.url is None or not names or host.data.host_name != names[0]:
        return
    gateway: GatewaySettings = settings_from(GatewaySettings, host.data)
    address = gateway.reached_at(site.address_of_group("gateway"))
    endpoint = wanted.endpoint or f"{gateway.scheme}://{address}:{gateway.port}/v1"
    key = gateway.clients[wanted.client].get_secret_value() if wanted.client in gateway.clients else ""
    models = tuple(
        wanted_model(model.alias, model, wanted, endpoint, key)
        for model in site.models.values()
        if model.alias is not None and model.dify is not None
    )
    registered(name="Register the models", access=access_of(wanted), provider=wanted.provider, models=models)
