"""The status of connected hosts: what runs on each of them now, and how gateways see it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from steelyard.api.host_error import HostError
from steelyard.modules.connectors.helper_call import call_helper
from steelyard.site.observed import Observed
from steelyard.workflows.gateway_view import GATEWAY_SOCKET
from steelyard_host.wire.services import HostStatus, ProxyState

if TYPE_CHECKING:
    from pyinfra.api.host import Host

    from steelyard.engine.session import Session

GATEWAYS = "gateway"  # the group


def look(session: Session, gateways: tuple[str, ...], passing: bool = False) -> Observed:
    """Ask every host of the session once, and gateways once more; connections stay for the next look.

    One round trip per host, two per gateway. A host that does not answer has failed for this look alone. `passing`: of
    many looks, so that no host's end is news.
    """
    observed = Observed()
    session.errors.clear()

    def ask(host: Host) -> None:
        try:
            observed.hosts[host.name] = call_helper(host, HostStatus, "status")
            if host.name in gateways:
                state = call_helper(host, ProxyState, "haproxy", GATEWAY_SOCKET)
                if state is not None and state.error is None:
                    observed.gateways[host.name] = state
        except HostError:
            observed.hosts.pop(host.name, None)
            host.connector.disconnect()
            host.connected = False  # so that the next look connects anew
            raise

    session.each(ask, "" if passing else "asking")
    return observed
