"""Facts are remembered until their host runs a command; what other hosts did since is not seen that way."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyinfra.api.host import Host


def invalidate_facts(host: Host) -> None:
    """Make the next facts of this host be read anew; a connector that remembers none has nothing to drop."""
    clear_cache = getattr(host.connector, "clear_cache", None)
    if clear_cache is not None:
        clear_cache()
