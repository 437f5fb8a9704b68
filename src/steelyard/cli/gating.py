"""What a wave must pass before it is confirmed: gateways see its services, and they do as well as the old version does."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import gevent

from steelyard.events import Step
from steelyard.modules.connectors.ask import ask
from steelyard.problem import HostProblem
from steelyard.rollout.gates import Figures, canary_weight, figures, grown, why_worse
from steelyard.site import Service, service_name

from .work import Wanted, session

if TYPE_CHECKING:
    from steelyard.inventory.fleet import Fleet
    from steelyard.render.screen import Screen

    from .rolling import Asked, Helpers

GATEWAY_SOCKET = "/run/haproxy/admin.sock"
SEEN_S = 30  # seconds a gateway gets to see a service that serves
SILENT_S = 10  # of a gateway whose HAProxy does not run: longer than a restart takes
NOBODY = "no gateway answers"
# the engines' by host; good and bad answers by gateway and host
Counters = tuple[dict[str, dict[str, float]], dict[tuple[str, str], tuple[int, int]]]


@dataclass
class Gate:
    """Asked after each wave has switched; a sentence refuses it. A gateway that does not answer has no say, unless none does."""

    wanted: Wanted
    fleet: Fleet
    services: Sequence[Service]
    helpers: Helpers
    asked: Asked
    screen: Screen
    moved: set[str] = field(default_factory=set)  # hosts that serve the new version already
    waves: int = 0
    old: Figures | None = None  # of the old version, when last somebody served it

    @property
    def backend(self) -> str:
        return f"alias-{service_name(self.services[0].alias or self.services[0].name, None)}"

    def before(self, hosts: Sequence[str]) -> None:
        """`hosts`: all that serve the old version. Where they move in one wave, nobody is left to compare with: they are looked at now."""
        first = 1 if self.asked.canary is not None else self.asked.serial.of(len(hosts)) if self.asked.serial else len(hosts)
        if self.fleet.groups.get("gateway") and self.asked.watch_s and max(1, first) >= len(hosts):
            self.screen.event(Step(f"looking at the old version for {self.asked.watch_s} s"))
            with self._gateways() as gateways:
                [self.old] = self._over(gateways, [list(hosts)])

    def __call__(self, hosts: Sequence[str]) -> str | None:
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
            if not self.asked.watch_s:
                return None
            if self.waves == 1 and self.asked.canary is not None:
                with self._canary(gateways, hosts):
                    return self._worse(gateways, hosts)
            return self._worse(gateways, hosts)

    @contextmanager
    def _gateways(self) -> Iterator[list[Any]]:
        names = self.fleet.groups.get("gateway", ())
        with session(replace(self.wanted, limit=",".join(names)), self.screen) as (_, opened):
            opened.each(lambda gateway: None)  # connected, as far as they answer
            yield list(opened.hosts)

    def _unseen(self, gateways: list[Any], hosts: Sequence[str]) -> dict[str, str] | None:
        """What gateways see that is not up; None where none of them answers."""
        wrong: dict[str, str] = {}
        answered: list[Any] = []

        def look(gateway: Any) -> None:
            end, silent = time.monotonic() + SEEN_S, time.monotonic() + SILENT_S
            while True:
                now, found = time.monotonic(), ask(gateway, "haproxy", GATEWAY_SOCKET) or {}
                if "error" in found:
                    if now > silent:
                        self.screen.event(
                            Step(f"{gateway.name}: its HAProxy does not answer, so it has no say: {found['error']}")
                        )
                        return
                else:
                    silent, left = now + SILENT_S, self._down(found.get("servers", {}), hosts)
                    if not left or now > end:
                        answered.append(gateway)
                        wrong.update(left)
                        return
                gevent.sleep(0.5)

        _each(gateways, look)
        return wrong if answered else None

    def _down(self, servers: dict[str, str], hosts: Sequence[str]) -> dict[str, str]:
        """Those of the hosts' services that are not up, with their state."""
        states = {f"{self.backend}/{host}": servers.get(f"{self.backend}/{host}", "unknown") for host in hosts}
        return {server: state for server, state in states.items() if not state.startswith("UP")}

    @contextmanager
    def _canary(self, gateways: list[Any], hosts: Sequence[str]) -> Iterator[None]:
        """The share that was asked for while it is looked at, then the declared weight again, whatever came of it."""
        weights = {service.host: service.weight for service in self.services}
        share = self.asked.canary or 0
        canary = canary_weight(share, [weight for host, weight in weights.items() if host not in hosts])
        self.screen.event(Step(f"{', '.join(hosts)}: {share:.0%} of the requests for {self.asked.watch_s} s"))
        self._weigh(gateways, dict.fromkeys(hosts, canary))
        try:
            yield
        finally:
            self._weigh(gateways, {host: weights[host] for host in hosts})

    def _weigh(self, gateways: list[Any], weights: dict[str, int]) -> None:
        words = [f"{self.backend}/{host}={weight}" for host, weight in weights.items()]
        _each(gateways, lambda gateway: ask(gateway, "haproxy-weigh", GATEWAY_SOCKET, *words))

    def _worse(self, gateways: list[Any], hosts: Sequence[str]) -> str | None:
        """The wave against those that still serve the old version, over the same seconds."""
        still = [service.host for service in self.services if service.host not in self.moved]
        new, old = self._over(gateways, [list(hosts), still])
        self.old = old if still else self.old
        return why_worse(new, self.old, self.asked.slower) if self.old is not None else None

    def _over(self, gateways: list[Any], sides: list[list[str]]) -> list[Figures]:
        """Of each side, over the seconds that were asked for."""
        names = [name for side in sides for name in side]
        before = self._counters(gateways, names)
        gevent.sleep(self.asked.watch_s)
        after = self._counters(gateways, names)
        found = []
        for side in sides:
            deltas = [grown(before[0].get(name, {}), after[0].get(name, {})) for name in side]
            counted = [key for key in after[1].keys() & before[1].keys() if key[1] in side]
            # one that was started anew meanwhile counts from nothing
            answers, errors = (sum(max(0, after[1][key][kind] - before[1][key][kind]) for key in counted) for kind in (0, 1))
            found.append(figures(deltas, answers, errors))
        return found

    def _counters(self, gateways: list[Any], names: Sequence[str]) -> Counters:
        engines: dict[str, dict[str, float]] = {}
        for name in names:
            try:
                engines[name] = self.helpers.ask(name, "service-counters", self.services[0].name)
            except HostProblem:
                engines[name] = {}
        answers: dict[tuple[str, str], tuple[int, int]] = {}

        def count(gateway: Any) -> None:
            found = (ask(gateway, "haproxy", GATEWAY_SOCKET) or {}).get("answers", {})
            for name in names:
                if f"{self.backend}/{name}" in found:
                    good, bad = found[f"{self.backend}/{name}"]
                    answers[gateway.name, name] = (good, bad)

        _each(gateways, count)
        return engines, answers


def _each(gateways: list[Any], work: Callable[[Any], Any]) -> None:
    for gateway in gateways:
        try:
            work(gateway)
        except HostProblem:
            continue
