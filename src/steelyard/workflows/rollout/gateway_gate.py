"""The gate that a wave must pass before it is confirmed: gateways see its services, and they do as well as the old
version does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple, Protocol

from steelyard.api.host_error import HostError
from steelyard.events import Emit, Step
from steelyard.interrupts.signals import HANDLER
from steelyard.modules.connectors.helper_call import call_helper, helper_document
from steelyard.rollout.comparison import Figures, canary_weight, figures, grown, why_worse
from steelyard.site.site import Service, backend_name
from steelyard.workflows.gateway_view import GATEWAY_SOCKET, POLL_S, SEEN_S
from steelyard.workflows.run_context import RunOptions, open_session
from steelyard_host.wire.services import EngineCounters, ProxyState

if TYPE_CHECKING:
    from pyinfra.api.host import Host

    from steelyard.inventory.fleet import Fleet
    from steelyard.rollout.request import RolloutRequest

SILENT_S = 10  # of a gateway whose HAProxy does not run: longer than a restart takes
NOBODY = "no gateway answers"


class CounterSource(Protocol):
    """The engines' own counters, host by host."""

    def counters(self, host: str) -> EngineCounters:
        """Return what the engine there has counted since its start. Raises HostError."""
        ...


class Counted(NamedTuple):
    """Counters at one moment: engines' counters by host, good and bad answers by gateway and host."""

    engines: Mapping[str, EngineCounters]
    answers: Mapping[tuple[str, str], tuple[int, int]]


@dataclass
class GatewayGate:
    """Asked after each wave has switched; a sentence refuses it. A gateway that does not answer has no say, unless none
    does.

    `moved`: hosts that serve the new version already; `waves`: how many were asked for; `old`: what the old version
    did, when last somebody served it.
    """

    options: RunOptions
    fleet: Fleet
    services: Sequence[Service]
    engines: CounterSource
    request: RolloutRequest
    emit: Emit
    moved: set[str] = field(default_factory=set)
    waves: int = 0
    old: Figures | None = None

    @property
    def backend(self) -> str:
        """The alias's backend in the gateways' HAProxy."""
        return backend_name(self.services[0].alias or self.services[0].name)

    def before(self, hosts: Sequence[str]) -> None:
        """Looks at the old version now where nobody would be left to compare with: its `hosts` all move in one wave."""
        request = self.request
        first = 1 if request.canary is not None else request.serial.of(len(hosts)) if request.serial else len(hosts)
        if self.fleet.groups.get("gateway") and request.watch_s and max(1, first) >= len(hosts):
            self.emit(Step(f"looking at the old version for {request.watch_s} s"))
            with self._gateways() as gateways:
                [self.old] = self._watched(gateways, [list(hosts)])

    def __call__(self, hosts: Sequence[str]) -> str | None:
        """Return why the wave of these hosts may not be confirmed; None where it may."""
        if not self.fleet.groups.get("gateway", ()):
            return None
        self.moved |= set(hosts)
        self.waves += 1
        with self._gateways() as gateways:
            unseen = self._unseen(gateways, hosts)
            if unseen is None:
                return NOBODY
            if unseen:
                return "; ".join(f"the gateway sees {server} {state}" for server, state in sorted(unseen.items()))
            if not self.request.watch_s:
                return None
            if self.waves == 1 and self.request.canary is not None:
                with self._canary(gateways, hosts, self.request.canary):
                    return self._worse(gateways, hosts)
            return self._worse(gateways, hosts)

    @contextmanager
    def _gateways(self) -> Iterator[list[Host]]:
        """The gateways that answer, connected."""
        names = self.fleet.groups.get("gateway", ())
        with open_session(replace(self.options, limit=",".join(names)), self.emit) as (_, session):
            session.each(lambda gateway: None)
            yield list(session.hosts)

    def _unseen(self, gateways: list[Host], hosts: Sequence[str]) -> dict[str, str] | None:
        """What gateways see that is not up; None where none of them answers."""
        wrong: dict[str, str] = {}
        answered: list[Host] = []

        def look(gateway: Host) -> None:
            end, silent = time.monotonic() + SEEN_S, time.monotonic() + SILENT_S
            while True:
                at, state = time.monotonic(), _proxy_state(gateway)
                if state.error is not None:
                    if at > silent or HANDLER.first is not None:
                        why = f"its HAProxy does not answer, so it has no say: {state.error}"
                        self.emit(Step(f"{gateway.name}: {why}"))
                        return
                else:
                    silent, left = at + SILENT_S, self._down(state.servers, hosts)
                    if not left or at > end or HANDLER.first is not None:
                        answered.append(gateway)
                        wrong.update(left)
                        return
                HANDLER.wait(POLL_S)

        _for_each(gateways, look)
        return wrong if answered else None

    def _down(self, servers: Mapping[str, str], hosts: Sequence[str]) -> dict[str, str]:
        """Those of the hosts' services that are not up, with their state."""
        states = {f"{self.backend}/{host}": servers.get(f"{self.backend}/{host}", "unknown") for host in hosts}
        return {server: state for server, state in states.items() if not state.startswith("UP")}

    @contextmanager
    def _canary(self, gateways: list[Host], hosts: Sequence[str], share: float) -> Iterator[None]:
        """The share that was asked for while it is looked at, then the declared weight again, whatever came of it."""
        weights = {service.host: service.weight for service in self.services}
        canary = canary_weight(share, [weight for host, weight in weights.items() if host not in hosts])
        self.emit(Step(f"{', '.join(hosts)}: {share:.0%} of the requests for {self.request.watch_s} s"))
        self._weigh(gateways, dict.fromkeys(hosts, canary))
        try:
            yield
        finally:
            self._weigh(gateways, {host: weights[host] for host in hosts})

    def _weigh(self, gateways: list[Host], weights: dict[str, int]) -> None:
        servers = [f"{self.backend}/{host}={weight}" for host, weight in weights.items()]
        _for_each(gateways, lambda gateway: helper_document(gateway, "haproxy-weigh", GATEWAY_SOCKET, *servers))

    def _worse(self, gateways: list[Host], hosts: Sequence[str]) -> str | None:
        """The wave against those that still serve the old version, over the same seconds."""
        still = [service.host for service in self.services if service.host not in self.moved]
        new, old = self._watched(gateways, [list(hosts), still])
        self.old = old if still else self.old
        return why_worse(new, self.old, self.request.slower) if self.old is not None else None

    def _watched(self, gateways: list[Host], sides: list[list[str]]) -> list[Figures]:
        """Figures of each side, over the seconds that were asked for."""
        names = [name for side in sides for name in side]
        before = self._counted(gateways, names)
        HANDLER.wait(self.request.watch_s)  # cut short, nobody asks what came of it
        after = self._counted(gateways, names)
        none = EngineCounters()
        watched = []
        for side in sides:
            deltas = [grown(before.engines.get(name, none), after.engines.get(name, none)) for name in side]
            keys = [key for key in after.answers.keys() & before.answers.keys() if key[1] in side]
            # one that was started anew meanwhile counts from nothing
            answers, errors = (
                sum(max(0, after.answers[key][kind] - before.answers[key][kind]) for key in keys) for kind in (0, 1)
            )
            watched.append(figures(deltas, answers, errors))
        return watched

    def _counted(self, gateways: list[Host], names: Sequence[str]) -> Counted:
        engines: dict[str, EngineCounters] = {}
        for name in names:
            try:
                engines[name] = self.engines.counters(name)
            except HostError:
                engines[name] = EngineCounters()
        answers: dict[tuple[str, str], tuple[int, int]] = {}

        def count(gateway: Host) -> None:
            by_server = _proxy_state(gateway).answers
            for name in names:
                if f"{self.backend}/{name}" in by_server:
                    answers[gateway.name, name] = by_server[f"{self.backend}/{name}"]

        _for_each(gateways, count)
        return Counted(engines, answers)


def _proxy_state(gateway: Host) -> ProxyState:
    """What the gateway's HAProxy says of itself; of a gateway without a helper nothing is known. Raises HostError."""
    return call_helper(gateway, ProxyState, "haproxy", GATEWAY_SOCKET) or ProxyState(None)


def _for_each(gateways: list[Host], work: Callable[[Host], object]) -> None:
    for gateway in gateways:
        try:
            work(gateway)
        except HostError:
            continue
