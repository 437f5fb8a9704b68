"""A fleet without one of its hosts: what the inventory will say when that host is deleted from it."""

from __future__ import annotations

from dataclasses import replace

from .fleet import Fleet, FleetHost


def without(fleet: Fleet, name: str) -> Fleet:
    """The fleet without the host; patterns match the others as they did."""
    match = fleet.match
    return replace(
        fleet,
        hosts=tuple(host for host in fleet.hosts if host.name != name),
        groups=_others(fleet.groups, name),
        direct=_others(fleet.direct, name),
        match=lambda pattern: [other for other in match(pattern) if other != name],
    )


def beside(fleet: Fleet, host: FleetHost) -> Fleet:
    """The fleet and a host that is in none of its groups, and that no pattern matches."""
    return replace(fleet, hosts=(*fleet.hosts, host))


def unserved(fleet: Fleet, project: str) -> Fleet:
    """The fleet where a model is declared no more."""
    return replace(fleet, hosts=tuple(_unserved(host, project) for host in fleet.hosts))


def _unserved(host: FleetHost, project: str) -> FleetHost:
    models = host.variables.get("models")
    if not isinstance(models, dict):
        return host
    left = {name: model for name, model in models.items() if name != project}
    return replace(host, variables={**host.variables, "models": left})


def _others(groups: dict[str, tuple[str, ...]], name: str) -> dict[str, tuple[str, ...]]:
    return {group: tuple(other for other in members if other != name) for group, members in groups.items()}
