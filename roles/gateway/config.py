"""Texts of the gateway's files. Pure."""

from __future__ import annotations

import json
from typing import Literal, NamedTuple, TypedDict

from steelyard.site.site import Service, Site, backend_name

from .settings import ClientLimit, Settings

SOCKET = "/run/haproxy/admin.sock"
AGAIN = "/run/haproxy/again.sock"  # where a request enters the gateway's own second half
AGAIN_SERVERS = ("at-most-twice/routed", "until-it-is-awake/routed")


def limit_lines(limits: dict[str, ClientLimit], what: str) -> str:
    """`NAME NUMBER` for each client that has a limit of this kind."""
    numbers = {name: getattr(limit, what) for name, limit in sorted(limits.items())}
    return "".join(f"{name} {number}\n" for name, number in numbers.items() if number is not None)


def model_list(aliases: dict[str, tuple[Service, ...]]) -> str:
    """The answer of /v1/models, one line without spaces."""
    models = [{"id": alias, "object": "model", "owned_by": "steelyard"} for alias in aliases]
    return json.dumps({"object": "list", "data": models}, separators=(",", ":"))


class Backend(NamedTuple):
    """An alias and its services as a backend of HAProxy; `lazy` where any of them is."""

    name: str
    alias: str
    services: tuple[Service, ...]
    affinity: Literal["prefix", "session", "none"]
    lazy: bool


class VrrpValues(TypedDict):
    """Values of keepalived's template. `others` are the addresses of the group's other hosts."""

    address: str | None
    name: str
    scheme: str
    port: int
    interface: str
    router_id: int
    priority: int
    own: str
    others: list[str]


def backends(aliases: dict[str, tuple[Service, ...]]) -> list[Backend]:
    """Return the backends for the template: `name`, `alias`, `services`, `affinity`, and whether any of them is
    `lazy`.
    """
    return [
        Backend(
            backend_name(alias),
            alias,
            services,
            services[0].serve.affinity,
            any(service.lazy for service in services),
        )
        for alias, services in aliases.items()
    ]


def peers(site: Site) -> list[tuple[str, str]]:
    """Return names and addresses of the gateways that tell each other what clients asked for.

    One alone tells only the process that a reload starts: nobody else's business, so on loopback.
    """
    names = site.groups.get("gateway", ())
    return [(name, site.addresses[name] if len(names) > 1 else "127.0.0.1") for name in names]


def vrrp(wanted: Settings, hosts: tuple[str, ...], addresses: dict[str, str], own: str, interface: str) -> VrrpValues:
    """Return the values of keepalived's template: each host of the group with a priority of its own, the first one
    with the highest.
    """
    return VrrpValues(
        address=wanted.shared_address,
        name=own,
        scheme=wanted.scheme,
        port=wanted.port,
        interface=interface,
        router_id=wanted.router_id,
        priority=150 - hosts.index(own),
        own=addresses[own],
        others=[addresses[name] for name in hosts if name != own],
    )
