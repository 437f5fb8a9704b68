"""What the gateway's files hold, as text. Pure."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from steelyard.site import Service, service_name

from .settings import Limit, Settings


def key_lines(clients: dict[str, str]) -> str:
    """`SHA256 NAME` for each client: HAProxy hashes what a client shows and looks it up."""
    return "".join(f"{hashlib.sha256(key.encode()).hexdigest()} {name}\n" for name, key in sorted(clients.items()))


def limit_lines(limits: dict[str, Limit], what: str) -> str:
    """`NAME NUMBER` for each client that has a limit of this kind."""
    numbers = {name: getattr(limit, what) for name, limit in sorted(limits.items())}
    return "".join(f"{name} {number}\n" for name, number in numbers.items() if number is not None)


def model_list(aliases: dict[str, tuple[Service, ...]]) -> str:
    """The answer of /v1/models, one line without spaces."""
    models = [{"id": alias, "object": "model", "owned_by": "steelyard"} for alias in aliases]
    return json.dumps({"object": "list", "data": models}, separators=(",", ":"))


def backend_name(alias: str) -> str:
    return f"alias-{service_name(alias, None)}"


def backends(aliases: dict[str, tuple[Service, ...]]) -> list[dict[str, Any]]:
    """For the template: `name`, `alias`, `services`, `affinity`, and whether any of them is `lazy`."""
    return [
        {
            "name": backend_name(alias),
            "alias": alias,
            "services": services,
            "affinity": services[0].serve.affinity,
            "lazy": any(service.lazy for service in services),
        }
        for alias, services in aliases.items()
    ]


def vrrp(wanted: Settings, hosts: tuple[str, ...], addresses: dict[str, str], own: str, interface: str) -> dict[str, Any]:
    """For keepalived's template: each host of the group with a priority of its own, the first one with the highest."""
    return {
        "address": wanted.shared_address, "name": own, "scheme": wanted.scheme, "port": wanted.port, "interface": interface,
        "router_id": wanted.router_id, "priority": 150 - hosts.index(own), "own": addresses[own],
        "others": [addresses[name] for name in hosts if name != own],
    }  # fmt: skip
