"""Leases: a version is kept on the hosts that hold it, whoever would remove it, until the lease ends."""

from __future__ import annotations

import getpass
import socket
from typing import TYPE_CHECKING

from steelyard.modules.connectors.helper_call import helper_document

from .store_queries import Stores, holders, listed, site_in

if TYPE_CHECKING:
    from pyinfra.api.host import Host

    from steelyard.engine.session import Session
    from steelyard.inventory.fleet import Fleet

HOUR_S = 3600


class UserLease:
    """This user's lease of one version, on every host that holds it.

    `where` is the place that an error names. Raises VersionNotHere where no host that answers holds the version.
    """

    def __init__(self, fleet: Fleet, session: Session, model: str, version: str, where: str) -> None:
        self.fleet, self.session = fleet, session
        self.version = (site_in(fleet).model_root, model, version, f"{getpass.getuser()}@{socket.gethostname()}")
        self.hosts = holders(listed(fleet, session), model, version, where)

    def take(self, hours: float, why: str) -> Stores:
        """Lease the version for `hours`; what the stores of its hosts hold after that."""
        return self._tell("store-lease", *self.version, str(hours * HOUR_S), why)

    def release(self) -> Stores:
        """End the lease; what the stores of its hosts hold after that."""
        return self._tell("store-release", *self.version)

    def _tell(self, *argv: str) -> Stores:
        def tell(host: Host) -> None:
            if host.name in self.hosts:
                helper_document(host, *argv)

        self.session.each(tell)
        after = listed(self.fleet, self.session)
        return {name: after[name] for name in self.hosts if name in after}
