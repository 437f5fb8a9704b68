"""Pruning: whether a run also removes what outlives its declaration, as caches and weights."""

from __future__ import annotations


def is_pruning() -> bool:
    """True where somebody asked for it (`apply --prune`, `host remove`)."""
    from pyinfra.context import host

    return bool(host.data.get("prunes", False))
