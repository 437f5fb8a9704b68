"""Services as they run beside what is declared of them, and as each gateway sees them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict

from steelyard.site.site import LATE, Service, Site, service_name
from steelyard_host.wire.services import HostStatus, ProxyState, ServiceState, ServiceStatus

Row = dict[str, object]  # of a document


class GatewayRow(TypedDict):
    """One gateway's view of a service, in documents. `status` in HAProxy's words; None: it has no such server."""

    gateway: str
    status: str | None
    weight: int | None
    running: int


@dataclass
class Observed:
    """The answers of a look: each host's status (None: no helper there), and each gateway's HAProxy.

    Silent ones are left out of both.
    """

    hosts: dict[str, HostStatus | None] = field(default_factory=dict)
    gateways: dict[str, ProxyState] = field(default_factory=dict)


@dataclass(frozen=True)
class ServiceRow:
    """One service on one host: declared, as it runs (None where its host is silent, or has no such service), and as
    each gateway that answers sees it.
    """

    host: str
    name: str
    declared: Service | None
    live: ServiceStatus | None
    gateways: tuple[GatewayRow, ...]

    @property
    def alias(self) -> str | None:
        return self.declared.alias if self.declared is not None else None

    @property
    def version(self) -> str | None:
        """The version that its engine sees; None where none runs."""
        mounted = self.live.mounted if self.live is not None else None
        return mounted.rsplit("/", 1)[-1] if mounted else None

    @property
    def state(self) -> str:
        """The state in a word: systemd's, `asleep` of a lazy one, `unknown` where its host is silent or has none."""
        if self.live is None:
            return "unknown"
        is_asleep = self.declared is not None and self.declared.lazy and self.live.state is ServiceState.INACTIVE
        return "asleep" if is_asleep else str(self.live.state)

    def as_json(self) -> Row:
        """The service's object in documents."""
        trial = self.live.trial if self.live is not None else None
        return {
            "host": self.host,
            "service": self.name,
            "alias": self.alias,
            "port": self.declared.serve.port if self.declared is not None else None,
            "declared": self.declared.version if self.declared is not None else None,
            "version": self.version,
            "state": self.state,
            "since": self.live.since if self.live is not None else None,
            "gateways": list(self.gateways),
            "trial": None
            if trial is None
            else {
                "version": trial.folder.rsplit("/", 1)[-1],
                "state": str(trial.state),
                "run": trial.run,
                "by": trial.by,
                "left_s": trial.left_s,
            },
        }


def service_rows(site: Site, observed: Observed, names: tuple[str, ...]) -> list[ServiceRow]:
    """The services of the hosts `names`: what is declared there, and what runs there undeclared."""
    rows = []
    for name in names:
        status = observed.hosts.get(name)
        live = {entry.name: entry for entry in status.services} if status is not None else {}
        declared = {service.name: service for service in site.services_on(name)}
        for service in dict.fromkeys([*declared, *live]):
            views = _views(declared.get(service), observed.gateways)
            rows.append(ServiceRow(name, service, declared.get(service), live.get(service), views))
    return rows


def _views(service: Service | None, gateways: Mapping[str, ProxyState]) -> tuple[GatewayRow, ...]:
    if service is None or service.alias is None:
        return ()
    server = f"alias-{service_name(service.alias, None)}/{service.host}"
    return tuple(
        {
            "gateway": name,
            "status": state.servers.get(server),
            "weight": state.weights.get(server),
            "running": state.running.get(server, 0) + state.running.get(server + LATE, 0),
        }
        for name, state in gateways.items()
    )


def changes(before: Sequence[ServiceRow], after: Sequence[ServiceRow]) -> list[str]:
    """A sentence for each thing that is otherwise than at the look before; of requests nothing is said."""
    known = {(row.host, row.name): _facts(row) for row in before}
    said = []
    for row in after:
        was, current = known.pop((row.host, row.name), {}), _facts(row)
        for what, value in current.items():
            if was.get(what) != value:
                said.append(f"{row.host}: {row.name}: {what} {was.get(what, '-')} -> {value}")
    return [*said, *(f"{host}: {name}: gone" for host, name in known)]


def _facts(row: ServiceRow) -> dict[str, Any]:
    trial = row.live.trial if row.live is not None else None
    views = {f"at {view['gateway']}": f"{view['status']}, weight {view['weight']}" for view in row.gateways}
    tried = f"{trial.folder.rsplit('/', 1)[-1]} {trial.state}" if trial is not None else "none"
    return {"state": row.state, "version": row.version or "-", "trial": tried, **views}
