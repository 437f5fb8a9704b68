"""A host that leaves the site for good: whether the host in context is it."""

from __future__ import annotations

LEAVES = "steelyard_leaves"  # the variable that says so; only `host remove` sets it


def is_leaving() -> bool:
    """True for the host that `steelyard host remove` takes out."""
    from pyinfra.context import host

    return bool(host.data.get(LEAVES, False))
