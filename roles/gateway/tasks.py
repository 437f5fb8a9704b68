"""Brings a host to the one endpoint: HAProxy routes by the request's `model` to healthy services.

Clients show their own key, engines get the site's: the gateway swaps them, and holds client keys as hashes only.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from pyinfra.api.deploy import deploy
from pyinfra.context import host

from steelyard.modules.operations.haproxy import healthy, serving
from steelyard.modules.operations.package import installed
from steelyard.modules.operations.path import content
from steelyard.modules.operations.unit import running
from steelyard.rendering import config_id, render
from steelyard.roles.vllm.settings import Settings as EngineSettings
from steelyard.settings import settings_from
from steelyard.site import Service, Site, service_name

from .checks import check_aliases
from .settings import Settings

TEMPLATES = Path(__file__).parent / "templates"
SOCKET = "/run/haproxy/admin.sock"
FOLDER = "/etc/haproxy"


def key_lines(clients: dict[str, str]) -> str:
    """`SHA256 NAME` for each client: HAProxy hashes what a client shows and looks it up."""
    return "".join(f"{hashlib.sha256(key.encode()).hexdigest()} {name}\n" for name, key in sorted(clients.items()))


def model_list(aliases: dict[str, tuple[Service, ...]]) -> str:
    """The answer of /v1/models, one line without spaces."""
    models = [{"id": alias, "object": "model", "owned_by": "steelyard"} for alias in aliases]
    return json.dumps({"object": "list", "data": models}, separators=(",", ":"))


@deploy("gateway")
def gateway() -> None:
    """Maps first, then the configuration that reads them, then the process that must have loaded both."""
    if "gateway" not in host.data.host_groups:
        return
    site: Site = host.data.site
    wanted = settings_from(Settings, host.data)
    engine_key = settings_from(EngineSettings, host.data).api_key
    aliases = site.aliases()
    keys = key_lines({name: key.get_secret_value() for name, key in wanted.clients.items()})
    alias_map = "".join(f"{alias} alias-{service_name(alias, None)}\n" for alias in aliases)
    models = f"list {model_list(aliases)}\n"
    secret = f"engine Bearer {engine_key.get_secret_value()}\n" if engine_key else "engine none\n"
    values = {
        "wanted": wanted,
        "folder": FOLDER,
        "socket": SOCKET,
        "with_key": engine_key is not None,
        "backends": [(f"alias-{service_name(alias, None)}", alias, services) for alias, services in aliases.items()],
    }
    stamp = config_id(render(TEMPLATES / "haproxy.cfg.j2", stamp="", **values), keys, alias_map, models, secret)
    installed(name="Install HAProxy", packages=("haproxy",))
    content(
        name="Write the clients", path=f"{FOLDER}/steelyard-keys.map", content=keys, mode="0640", group="haproxy", secret=True
    )
    content(
        name="Write the engines' key",
        path=f"{FOLDER}/steelyard-engine.map",
        content=secret,
        mode="0640",
        group="haproxy",
        secret=True,
    )
    content(name="Write the aliases", path=f"{FOLDER}/steelyard-alias.map", content=alias_map)
    content(name="Write the list of models", path=f"{FOLDER}/steelyard-models.map", content=models)
    content(
        name="Configure the gateway",
        path=f"{FOLDER}/haproxy.cfg",
        content=render(TEMPLATES / "haproxy.cfg.j2", stamp=stamp, **values),
        check="/usr/sbin/haproxy -c -q -f",
    )
    running(name="Run the gateway", unit="haproxy.service")
    serving(name="Load the gateway's configuration", unit="haproxy.service", socket=SOCKET, config=stamp)
    servers = tuple(
        f"alias-{service_name(alias, None)}/{service.host}" for alias, services in aliases.items() for service in services
    )
    healthy(name="See the services give tokens", socket=SOCKET, servers=servers, wait_s=wanted.healthy_s)
    first = next((key.get_secret_value() for _, key in sorted(wanted.clients.items())), None)
    check_aliases(site.addresses[host.data.host_name], wanted.port, first, tuple(aliases))
