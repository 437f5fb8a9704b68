"""Order of mirrors: those that serve first, the fastest before the others, and the order of today unless it is much
slower.
"""

from __future__ import annotations

from dataclasses import dataclass

MUCH = 2.0  # rates of two measurements differ by less than this for no reason


@dataclass(frozen=True)
class Mirror:
    """One mirror as a host measured it: bytes per second, None where it did not serve the probe."""

    url: str
    rate: float | None
    why: str = ""


def ordered(mirrors: tuple[Mirror, ...], today: tuple[str, ...]) -> tuple[str, ...]:
    """URLs in the order in which a client should ask. `today` is the live order; it stays where nothing is much
    faster.
    """
    places = {url: place for place, url in enumerate(today)}
    serving = sorted(
        (mirror for mirror in mirrors if mirror.rate), key=lambda mirror: places.get(mirror.url, len(places))
    )
    done: list[Mirror] = []
    for mirror in serving:
        at = len(done)
        while at and (mirror.rate or 0) > MUCH * (done[at - 1].rate or 0):
            at -= 1
        done.insert(at, mirror)
    silent = sorted(
        (mirror for mirror in mirrors if not mirror.rate), key=lambda mirror: places.get(mirror.url, len(places))
    )
    return tuple(mirror.url for mirror in [*done, *silent])


def order_in(text: str, urls: tuple[str, ...]) -> tuple[str, ...]:
    """Return the mirrors that a client's configuration names, in its order; with or without their scheme."""
    places = {url: text.find(url.split("://")[1].rstrip("/")) for url in urls}
    return tuple(sorted((url for url in urls if places[url] >= 0), key=lambda url: places[url]))
