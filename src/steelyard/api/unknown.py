"""Things that a dry run cannot know, as values filed under the host that cannot be looked at yet."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Unknown(NamedTuple):
    """One thing on one host, why it cannot be known yet, and what will settle it."""

    host: str
    what: str
    because: str
    settled_by: str


def declare_unknown(what: str, because: str, settled_by: str) -> None:
    """File an unknown for the host in context; outside our engine (plain pyinfra) it is only logged."""
    from pyinfra import logger
    from pyinfra.context import host

    # a callable, because pyinfra hands out copies of host data
    file: Callable[[Unknown], None] | None = host.data.get("file_unknown", None)
    unknown = Unknown(str(host.data.get("host_name", host.name)), what, because, settled_by)
    if file is not None:
        file(unknown)
    logger.info("unknown on %s: %s (%s)", unknown.host, what, because)
