"""Fronts let the key end that gateways showed before: a task of hosts that serve, after the gateways."""

from __future__ import annotations

from pyinfra.api.deploy import deploy
from pyinfra.context import host, state

from steelyard.api.settings import settings_from
from steelyard.modules.operations.proxy_keys import key_before_ended
from steelyard.roles.vllm.front_keys import UNIT, keys_cut
from steelyard.roles.vllm.settings import Settings as EngineSettings
from steelyard.site.site import Site
from steelyard_host import paths

from .settings import Settings

UNDER_WAY_S = 10  # for what is on its way from a gateway to a front


@deploy("gateway")
def keys_of_before() -> None:
    """A gateway's process before its reload may still hold requests, which go out with the key of before: it ends no
    sooner than they do.
    """
    site: Site = host.data.site
    services = site.services_on(host.data.host_name)
    if not services:
        return
    gateways = site.groups.get("gateway", ())
    held = [
        settings_from(Settings, one.data).hold_s for one in state.inventory if one.data.get("host_name") in gateways
    ]
    key_before_ended(
        name="Let the key of before end",
        declared=paths.PROXY_KEY,
        before=paths.PROXY_KEYS_BEFORE,
        older=paths.KEYS,
        wanted=keys_cut(settings_from(EngineSettings, host.data), services),
        unit=UNIT,
        gateways=gateways,
        grace_s=max(held, default=0) + UNDER_WAY_S,
    )
