"""Gateways as an apply asks them between two restarts: whether they see who came back.

They are asked over connections of their own, whatever the limit selects, and only where a second replica is about to
leave. pyinfra has one current state for all greenlets, so nothing here may make this session's the current one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import gevent
from gevent.lock import BoundedSemaphore

from steelyard.api.host_error import HostError
from steelyard.engine.session import Session
from steelyard.events import Emit
from steelyard.modules.connectors.helper_call import call_helper, helper_document
from steelyard.modules.connectors.ssh import SteelyardConnector
from steelyard_host.wire.services import ProxyState

if TYPE_CHECKING:
    from pyinfra.api.host import Host

    from steelyard.engine.pyinfra_fast import Lazy
    from steelyard.inventory.fleet import Fleet
    from steelyard.site.site import Site

GATEWAY_SOCKET = "/run/haproxy/admin.sock"
GATEWAY_CONFIG = "/etc/haproxy/haproxy.cfg"
SEEN_S = 30  # seconds a gateway gets to see a service that serves
POLL_S = 0.5


class GatewayView:
    """The site's gateways; one that does not answer, and one that does not know a server yet, has no say in it."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._gateways: list[Host] | None = None
        self._one_asks = BoundedSemaphore()  # a connection has one shell

    @property
    def gateways(self) -> list[Host]:
        """The gateways that answer, connected."""
        if self._gateways is None:
            self._gateways = self._session.reached()
        return self._gateways

    @contextmanager
    def holding(self, seconds: int | None) -> Iterator[None]:
        """Requests wait `seconds` for a service to come back while the block runs; None: as long as is declared.

        Raises HelperRefused where a gateway holds none.
        """
        if seconds is None:
            yield
            return
        for gateway in self.gateways:
            self._hold(gateway, seconds)
        try:
            yield
        finally:
            for gateway in self.gateways:
                self._hold(gateway, 0)

    def _hold(self, gateway: Host, seconds: int) -> None:
        try:
            helper_document(gateway, "haproxy-hold", GATEWAY_SOCKET, GATEWAY_CONFIG, str(seconds))
        except HostError as problem:
            raise problem.error from problem

    def unseen(self, servers: tuple[str, ...]) -> Mapping[str, str]:
        """Return those of `servers` (`backend/server`) that a gateway does not see up within `SEEN_S`, and what it
        says.
        """
        with self._one_asks:
            end = time.monotonic() + SEEN_S
            while True:
                down = {server: said for gateway in self.gateways for server, said in _down(gateway, servers).items()}
                if not down or time.monotonic() > end:
                    return down
                gevent.sleep(POLL_S)


def _down(gateway: Host, servers: tuple[str, ...]) -> dict[str, str]:
    try:
        state = call_helper(gateway, ProxyState, "haproxy", GATEWAY_SOCKET) or ProxyState(None)
    except HostError:
        return {}
    known = [(server, state.servers[server]) for server in servers if server in state.servers]
    return {server: f"is {said} for {gateway.name}" for server, said in known if not said.startswith("UP")}


@contextmanager
def gateway_view(fleet: Fleet, site: Site | Lazy[Site], emit: Emit) -> Iterator[GatewayView]:
    """The view of the fleet's gateways; nothing is connected before it is asked."""
    names = tuple(name for name in fleet.groups.get("gateway", ()))
    with Session(fleet, site, names, None, SteelyardConnector, emit) as session:
        yield GatewayView(session)
