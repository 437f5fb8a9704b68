"""Ends of the keys that a proxy accepts: in seconds since 1970, because HAProxy compares numbers."""

from __future__ import annotations

from datetime import UTC, datetime

NEVER = 9999999999  # the end of a key that has none


def until(end: int) -> str:
    """Return an end as people read it: `until 2026-12-31 18:00 UTC`."""
    return "without an end" if end >= NEVER else f"until {datetime.fromtimestamp(end, UTC):%Y-%m-%d %H:%M} UTC"
