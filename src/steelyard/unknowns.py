"""What a dry run cannot know, as values filed under the host that cannot be looked at yet."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Unknown:
    """One thing on one host, why it cannot be known yet, and what will settle it."""

    host: str
    what: str
    because: str
    settled_by: str


def declare_unknown(what: str, because: str, settled_by: str) -> None:
    """File one for the host in context; outside our engine (plain pyinfra) it is only logged."""
    from pyinfra import logger
    from pyinfra.context import host

    filed: list[Unknown] | None = host.data.get("unknowns", None)
    unknown = Unknown(str(host.data.get("host_name", host.name)), what, because, settled_by)
    if filed is not None:
        filed.append(unknown)
    logger.info("unknown on %s: %s (%s)", unknown.host, what, because)
