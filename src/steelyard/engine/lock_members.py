"""The hosts that keep the locks of a fleet, and how many of them have to agree."""

from __future__ import annotations

from collections.abc import Sequence

MOST_KEEPERS = 5


def keepers_of(names: Sequence[str]) -> tuple[str, ...]:
    """Return the keepers among a fleet's hosts, in inventory order: the first host, of three hosts the first three, of
    five or more the first five. An even number of keepers would bear no more silent ones, and ask one more.

    Whoever reads the same inventory comes to the same keepers, whether they answer or not.
    """
    most = min(len(names), MOST_KEEPERS)
    return tuple(names[: most if most % 2 else max(most - 1, 0)])


def majority(keepers: int) -> int:
    """Return how many keepers are more than half: of two majorities, one keeper is always in both."""
    return keepers // 2 + 1
