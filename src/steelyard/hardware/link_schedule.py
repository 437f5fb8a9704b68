"""The schedule by which hosts measure their links: a host is in one pair of a round at most.

So no link is measured twice at once.
"""

from __future__ import annotations

Pair = tuple[str, str]


def rounds(hosts: tuple[str, ...], most: int | None = None) -> list[list[Pair]]:
    """Every pair once, by the circle method: n-1 rounds (n for an odd number), or `most`; each host is in each."""
    circle: list[str | None] = [*hosts]
    if len(circle) % 2:
        circle.append(None)
    schedule = []
    for _ in range(max(len(circle) - 1, 0)):
        half = len(circle) // 2
        pairs = zip(circle[:half], reversed(circle[half:]), strict=True)
        schedule.append([(one, other) for one, other in pairs if one is not None and other is not None])
        circle = [circle[0], circle[-1], *circle[1:-1]]
    return [pairs for pairs in schedule if pairs][:most]
