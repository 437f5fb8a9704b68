"""All that is declared, as values: which host stores what, which services run where, under which alias."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from steelyard.api.turn import ReplicaTurn
from steelyard.inventory.locate import locate
from steelyard.serving.kinds import KINDS, EngineKind
from steelyard.site.schema import Model, Serve

LATE = "-late"  # behind a server's name: its twin, which gets requests while no server is healthy


@dataclass(frozen=True)
class Service:
    """One engine process on one host. `name` is the unit's instance; `address` is where the gateway reaches it."""

    name: str
    model: str
    version: str
    host: str
    address: str
    alias: str | None
    serve: Serve

    @property
    def weight(self) -> int:
        """The service's weight at the gateway."""
        return self.serve.weights.get(self.host, 100)

    @property
    def kind(self) -> EngineKind:
        """The kind of its engine."""
        return KINDS[self.serve.engine]

    @property
    def unit(self) -> str:
        """The systemd unit of its engine."""
        return f"steelyard-{self.serve.engine}@{self.name}.service"

    @property
    def lazy(self) -> bool:
        """True where its first request starts it."""
        return self.serve.load == "lazy"

    @property
    def task_group(self) -> str:
        """The name of the group of tasks that bring its host to it."""
        return f"service {self.name}"

    @property
    def turn(self) -> ReplicaTurn | None:
        """The turn in which it may be taken away; None where nobody asks for it by an alias."""
        return ReplicaTurn(self.alias, f"{backend_name(self.alias)}/{self.host}") if self.alias is not None else None

    def engine_version(self, default: str) -> str:
        """`default`: the `version` of its engine's section."""
        return self.serve.engine_version or default


@dataclass(frozen=True)
class Site:
    """All that is declared, resolved: which host stores what, which services run where."""

    model_root: str
    models: dict[str, Model]
    services: tuple[Service, ...]
    stored_on: dict[str, tuple[str, ...]]
    addresses: dict[str, str]
    groups: dict[str, tuple[str, ...]]
    path: Path = Path("inventory")

    def written(self, *keys: str) -> str:
        """`FILE:LINE` of a key of the site, for error messages."""
        return locate(self.path, None, keys)

    def services_on(self, host: str) -> tuple[Service, ...]:
        """The services of one host, in the order of declaration."""
        return tuple(service for service in self.services if service.host == host)

    def aliases(self) -> dict[str, tuple[Service, ...]]:
        """Alias to its services, sorted by alias. Raises where one is on a host whose address could not be resolved."""
        services: dict[str, list[Service]] = {}
        for service in self.services:
            if service.alias is not None:
                _ = self.addresses[service.host]
                services.setdefault(service.alias, []).append(service)
        return {alias: tuple(services[alias]) for alias in sorted(services)}

    def address_of_group(self, group: str) -> str | None:
        """Address of the first host of a group."""
        names = self.groups.get(group, ())
        return self.addresses[names[0]] if names else None


def backend_name(alias: str) -> str:
    """The name of an alias's backend in the gateways' HAProxy."""
    return f"alias-{service_name(alias, None)}"


def service_name(project: str, alias: str | None) -> str:
    """A unit instance name: letters, digits and dashes."""
    return re.sub(r"[^A-Za-z0-9]+", "-", alias or project).strip("-").lower()
