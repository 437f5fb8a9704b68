"""Brings a host to the one endpoint: HAProxy routes by the request's `model` to healthy services.

Clients show their own key, engines get the site's: the gateway swaps them, and holds client keys as hashes only.
"""

from __future__ import annotations

from pathlib import Path

from pyinfra.api.deploy import deploy
from pyinfra.context import host

from steelyard.modules.facts.network import InterfaceOf
from steelyard.modules.operations.haproxy import healthy, serving, weighted
from steelyard.modules.operations.package import installed
from steelyard.modules.operations.path import absent, content
from steelyard.modules.operations.unit import running, stopped
from steelyard.rendering import config_id, render
from steelyard.roles.vllm.settings import Settings as EngineSettings
from steelyard.settings import settings_from
from steelyard.site import Service, Site
from steelyard.unknowns import declare_unknown

from .checks import check_aliases, check_certificate
from .config import backend_name, backends, key_lines, limit_lines, model_list, vrrp
from .settings import Settings

TEMPLATES = Path(__file__).parent / "templates"
SOCKET = "/run/haproxy/admin.sock"
FOLDER = "/etc/haproxy"
KEEPALIVED = "/etc/keepalived/keepalived.conf"


@deploy("gateway")
def gateway() -> None:
    """Maps first, then the configuration that reads them, then the process that must have loaded both."""
    if "gateway" not in host.data.host_groups:
        return
    site: Site = host.data.site
    wanted = settings_from(Settings, host.data)
    aliases = site.aliases()
    installed(name="Install HAProxy", packages=("haproxy",))
    _haproxy(site, wanted, aliases)
    servers = {
        f"{backend_name(alias)}/{service.host}": service.weight for alias, services in aliases.items() for service in services
    }
    healthy(name="See the services give tokens", socket=SOCKET, servers=tuple(servers), wait_s=wanted.healthy_s)
    weighted(name="Set the services' weights", socket=SOCKET, weights=tuple(sorted(servers.items())))
    _shared_address(site, wanted)
    first = next((key.get_secret_value() for _, key in sorted(wanted.clients.items())), None)
    own = site.addresses[host.data.host_name]
    pem = wanted.tls_pem.get_secret_value() if wanted.tls_pem else None
    check_aliases(own, wanted.port, pem, first, tuple(aliases))
    if pem is not None:
        check_certificate(pem)


def _haproxy(site: Site, wanted: Settings, aliases: dict[str, tuple[Service, ...]]) -> None:
    engine_key = settings_from(EngineSettings, host.data).api_key
    pem = wanted.tls_pem.get_secret_value() if wanted.tls_pem else None
    keys = key_lines({name: key.get_secret_value() for name, key in wanted.clients.items()})
    secret = f"engine Bearer {engine_key.get_secret_value()}\n" if engine_key else "engine none\n"
    public = {
        "alias": "".join(f"{alias} {backend_name(alias)}\n" for alias in aliases),
        "models": f"list {model_list(aliases)}\n",
        "per-minute": limit_lines(wanted.limits, "per_minute"),
        "at-once": limit_lines(wanted.limits, "at_once"),
    }
    values = {
        "wanted": wanted, "folder": FOLDER, "socket": SOCKET, "with_key": engine_key is not None, "backends": backends(aliases),
        "name": host.data.host_name, "gateways": [(name, site.addresses[name]) for name in site.groups.get("gateway", ())],
    }  # fmt: skip
    stamp = config_id(render(TEMPLATES / "haproxy.cfg.j2", stamp="", **values), keys, *public.values(), secret, pem or "")
    _secret("Write the clients", "steelyard-keys.map", keys)
    _secret("Write the engines' key", "steelyard-engine.map", secret)
    certificate = f"{FOLDER}/steelyard.pem"
    if pem is not None:
        content(name="Write the certificate", path=certificate, content=pem, mode="0600", secret=True)
    for name, text in public.items():
        content(name=f"Write the map {name}", path=f"{FOLDER}/steelyard-{name}.map", content=text)
    content(
        name="Configure the gateway",
        path=f"{FOLDER}/haproxy.cfg",
        content=render(TEMPLATES / "haproxy.cfg.j2", stamp=stamp, **values),
        check="/usr/sbin/haproxy -c -f",
    )
    if pem is None:
        absent(name="Remove the certificate", path=certificate)
    reload = "/etc/systemd/system/haproxy.service.d/50-steelyard.conf"
    content(name="Keep states over a reload", path=reload, content=(TEMPLATES / "reload.conf").read_text())
    running(name="Run the gateway", unit="haproxy.service", files=(reload,))
    serving(name="Load the gateway's configuration", unit="haproxy.service", socket=SOCKET, config=stamp)


def _secret(name: str, file: str, text: str) -> None:
    content(name=name, path=f"{FOLDER}/{file}", content=text, mode="0640", group="haproxy", secret=True)


def _shared_address(site: Site, wanted: Settings) -> None:
    """keepalived on every host of the group, each telling the others that it lives."""
    names = site.groups["gateway"]
    if wanted.shared_address is None:
        stopped(name="Let go of the shared address", unit="keepalived.service")
        return
    installed(name="Install keepalived", packages=("keepalived", "curl"))
    own = host.data.host_name
    interface = wanted.interface or host.get_fact(InterfaceOf, address=site.addresses[own])
    if interface is None:
        declare_unknown(
            "the interface of the shared address", because=f"none has {site.addresses[own]}", settled_by="`gateway.interface`"
        )
        return
    text = render(TEMPLATES / "keepalived.conf.j2", **vrrp(wanted, names, site.addresses, own, interface))
    stamp, drop_in = config_id(text), "/etc/systemd/system/keepalived.service.d/50-steelyard.conf"
    content(name="Configure the shared address", path=KEEPALIVED, content=text)
    content(name="Mark its configuration", path=drop_in, content=f"[Service]\nEnvironment=STEELYARD_CONFIG={stamp}\n")
    running(name="Hold the shared address", unit="keepalived.service", config=stamp, files=(drop_in,))
