"""Brings a host to the one endpoint: HAProxy routes by the request's `model` to healthy services.

Clients show their own key, and the host of a service gets that service's: the gateway swaps them, and holds client
keys as hashes only.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import SecretStr
from pyinfra.api.deploy import deploy
from pyinfra.context import host, state

from steelyard.api.settings import settings_from
from steelyard.api.task_group import task_group
from steelyard.api.template import config_id, render
from steelyard.api.turn import ReplicaTurn, in_turn
from steelyard.api.unknown import declare_unknown
from steelyard.modules.facts.network import InterfaceOf
from steelyard.modules.operations.haproxy import healthy, serving, weighted
from steelyard.modules.operations.package import installed
from steelyard.modules.operations.path import file, file_absent
from steelyard.modules.operations.proxy_keys import clients_known, declared_key_shown, fronts_accept
from steelyard.modules.operations.removal import gateway_removed, states_forgotten, unrouted
from steelyard.modules.operations.unit import running, stopped
from steelyard.roles.vllm.proxy import check_proxy
from steelyard.roles.vllm.settings import Settings as EngineSettings
from steelyard.serving.key_ends import NEVER
from steelyard.serving.service_keys import service_key
from steelyard.site.site import Service, Site, backend_name

from .answers import GatewayAnswers, gateway_errors
from .checks import UNIT, check_aliases, check_certificate, check_ends, server_needs
from .clients import declared_keys, end_lines, key_lines
from .config import AGAIN, AGAIN_SERVERS, SOCKET, backends, limit_lines, model_list, peers, vrrp
from .settings import Settings

TEMPLATES = Path(__file__).parent / "templates"
FOLDER = "/etc/haproxy"
CONFIG = f"{FOLDER}/haproxy.cfg"
ALIASES = f"{FOLDER}/steelyard-alias.map"
STATES = "/run/haproxy/servers.state"
DIFY = "dify"  # the client of Dify, where it says no other
KEEPALIVED = "/etc/keepalived/keepalived.conf"


@deploy("gateway")
def unannounced() -> None:
    """Answer for aliases that are declared no more before their services stop; end what is no gateway any more."""
    site: Site = host.data.site
    if "gateway" in host.data.host_groups:
        names = tuple(backend_name(alias) for alias in site.aliases())
        unrouted(name="Route to no alias that is gone", socket=SOCKET, map_file=ALIASES, backends=names)
        return
    units = tuple(service.unit for service in site.services_on(host.data.host_name))
    gateway_removed(name="Be a gateway no more", units=units)


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
    by_server = {f"{backend_name(alias)}/{service.host}": service for alias in aliases for service in aliases[alias]}
    known = (*by_server, *(f"{server}-late" for server in by_server), *AGAIN_SERVERS)
    states_forgotten(name="Keep no state of what is gone", socket=SOCKET, path=STATES, servers=known)
    with task_group("services give tokens"):
        healthy(
            name="See the services give tokens",
            socket=SOCKET,
            servers=tuple((server, service.host, service.task_group) for server, service in by_server.items()),
            wait_s=wanted.healthy_s,
            depends_on=server_needs(aliases),
        )
    weights = tuple(sorted((server, service.weight) for server, service in by_server.items()))
    weighted(name="Set the services' weights", socket=SOCKET, weights=weights)
    _shared_address(site, wanted)
    first = next((client.newest.key.get_secret_value() for _, client in sorted(wanted.clients.items())), None)
    own = site.addresses[host.data.host_name]
    pem = wanted.tls_pem.get_secret_value() if wanted.tls_pem else None
    check_aliases(own, wanted.port, pem, first, tuple(aliases))
    if pem is not None:
        check_certificate(pem)
    check_ends(wanted.clients)


def _haproxy(site: Site, wanted: Settings, aliases: dict[str, tuple[Service, ...]]) -> None:
    engine_key = settings_from(EngineSettings, host.data).api_key
    pem = wanted.tls_pem.get_secret_value() if wanted.tls_pem else None
    keys = end_lines(wanted.clients), key_lines(wanted.clients)
    shown = _keys_shown(engine_key, aliases)
    secret = "".join(f"{backend_name(alias)} Bearer {key}\n" for alias, (key, _) in shown.items()) or "engine none\n"
    public = {
        "alias": "".join(f"{alias} {backend_name(alias)}\n" for alias in aliases),
        "models": f"list {model_list(aliases)}\n",
        "per-minute": limit_lines(wanted.limits, "per_minute"),
        "at-once": limit_lines(wanted.limits, "at_once"),
    }
    values = {
        "wanted": wanted,
        "folder": FOLDER,
        "socket": SOCKET,
        "again": AGAIN,
        "with_key": engine_key is not None,
        "never": NEVER,
        "answers": GatewayAnswers.of(wanted.body_mib),
        "errors": gateway_errors(wanted.hold_s),
        "backends": backends(aliases),
        "name": host.data.host_name,
        "gateways": peers(site),
    }
    stamp = config_id(
        render(TEMPLATES / "haproxy.cfg.j2", stamp="", **values), *keys, *public.values(), secret, pem or ""
    )
    clients_known(
        name="Write the clients",
        keys=f"{FOLDER}/steelyard-keys.map",
        ends=f"{FOLDER}/steelyard-ends.map",
        texts=keys,
        declared=declared_keys(wanted.clients),
        overlapping=_client_of_dify(site),
    )
    fronts_accept(
        name="See that the fronts accept the key",
        path=f"{FOLDER}/steelyard-engine.map",
        content=secret,
        keys=tuple(shown.values()),
    )
    _secret("Write the engines' key", "steelyard-engine.map", secret)
    certificate = f"{FOLDER}/steelyard.pem"
    if pem is not None:
        file(name="Write the certificate", path=certificate, content=pem, mode="0600", secret=True)
    for name, text in public.items():
        file(name=f"Write the map {name}", path=f"{FOLDER}/steelyard-{name}.map", content=text)
    file(
        name="Configure the gateway",
        path=CONFIG,
        content=render(TEMPLATES / "haproxy.cfg.j2", stamp=stamp, **values),
        check="/usr/sbin/haproxy -c -f",
    )
    if pem is None:
        file_absent(name="Remove the certificate", path=certificate)
    reload = "/etc/systemd/system/haproxy.service.d/50-steelyard.conf"
    file(name="Keep states over a reload", path=reload, content=(TEMPLATES / "reload.conf").read_text())
    running(name="Run the gateway", unit=UNIT, files=(reload,), depends_on=("packages haproxy", CONFIG))
    serving(name="Load the gateway's configuration", unit=UNIT, socket=SOCKET, config=stamp)
    check_proxy("gateway.haproxy-runs", UNIT, CONFIG)
    declared_key_shown(name="Show the fronts the declared key")


def _keys_shown(
    site_key: SecretStr | None, aliases: dict[str, tuple[Service, ...]]
) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Alias to the key of its services, and the fronts that are shown it; nothing where no key is declared."""
    if site_key is None:
        return {}
    return {
        alias: (
            service_key(site_key.get_secret_value(), services[0].name),
            tuple(f"{service.address}:{service.serve.port}" for service in services),
        )
        for alias, services in aliases.items()
    }


def _client_of_dify(site: Site) -> str | None:
    """The client whose key Dify keeps; None where no Dify is in the run, whose host alone may have the section."""
    names = site.groups.get("dify", ())
    sections = [one.data.get("dify") or {} for one in state.inventory if one.data.get("host_name") in names]
    return next((str(section.get("client", DIFY)) for section in sections if section.get("url")), None)


def _secret(name: str, file_name: str, text: str) -> None:
    file(name=name, path=f"{FOLDER}/{file_name}", content=text, mode="0640", group="haproxy", secret=True)


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
            "the interface of the shared address",
            because=f"none has {site.addresses[own]}",
            settled_by="`gateway.interface`",
        )
        return
    text = render(TEMPLATES / "keepalived.conf.j2", **vrrp(wanted, names, site.addresses, own, interface))
    stamp, drop_in = config_id(text), "/etc/systemd/system/keepalived.service.d/50-steelyard.conf"
    file(name="Configure the shared address", path=KEEPALIVED, content=text)
    file(name="Mark its configuration", path=drop_in, content=f"[Service]\nEnvironment=STEELYARD_CONFIG={stamp}\n")
    with in_turn(ReplicaTurn("shared address of the gateways", "")):
        running(name="Hold the shared address", unit="keepalived.service", config=stamp, files=(drop_in,))
