"""Live checks of the ground: hosts that this one remembers as parts of the site, and that are declared no more."""

from __future__ import annotations

from pyinfra.context import host

from steelyard.api import live_check
from steelyard.api.finding import Severity
from steelyard.modules.operations.removal import remains
from steelyard.site.left_host import CODE, left_host
from steelyard.site.site import Site


def check_hosts(site: Site) -> None:
    """Only the host that held the lock of an apply has the record; it is asked with what it has left besides."""
    if not live_check.is_enabled():
        return
    units = tuple(service.unit for service in site.services_on(host.data.host_name))
    for name, entry in sorted(remains(units).hosts.items()):
        if name not in site.addresses:
            live_check.report(CODE, *left_host(name, entry.address, entry.last), Severity.WARNING)
