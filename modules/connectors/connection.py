"""The connector of a host as what it is in our runs: one that can converse with the helper and connect again."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from pyinfra.api.host import Host

if TYPE_CHECKING:
    from .ssh import SteelyardConnector


def connection_of(host: Host) -> SteelyardConnector:
    """Return the host's connector; every host of our engine has ours."""
    return cast("SteelyardConnector", host.connector)
