"""Words about a host that was applied as a part of the site, and is declared no more. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

CODE = "base.undeclared-host"


class LeftHost(NamedTuple):
    """The words of a finding about such a host."""

    subject: str
    declared: str
    live: str
    fix: str


def left_host(name: str, address: str, last: float) -> LeftHost:
    """`last`: seconds of the epoch when it was last applied."""
    live = f"was part of this site until {datetime.fromtimestamp(last, UTC):%Y-%m-%d} at {address}, and not taken out"
    fix = f"`steelyard host remove {name}`, with `--dead` where it answers no more; or declare it again"
    return LeftHost(f"host {name}", "declared, or removed", live, fix)
