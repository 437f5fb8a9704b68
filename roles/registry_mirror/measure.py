"""Asks a host how its mirrors serve it, and puts them into an order."""

from __future__ import annotations

from typing import Any

from pyinfra.context import host

from steelyard.modules.facts.helper import HelperAnswer
from steelyard.modules.facts.path import Content

from .mirrors import Mirror, order_in, ordered

# a probe that takes less tells that both are near, and not which of them is the faster: a busy host would write its
# files anew
QUICK_S = 0.1


def measured(urls: tuple[str, ...], image: str) -> tuple[Mirror, ...]:
    """Each mirror by a real manifest and blob, from this host. Without a probe image the API alone is asked."""
    mirrors = []
    for url in urls:
        answer: dict[str, Any] | None = host.get_fact(HelperAnswer, words=("registry-probe", url, image))
        if answer is None or answer["error"]:
            mirrors.append(Mirror(url, None, str(answer["error"]) if answer else "the helper is not installed yet"))
        else:
            mirrors.append(Mirror(url, answer["bytes"] / max(answer["seconds"], QUICK_S) if answer["bytes"] else 1.0))
    return tuple(mirrors)


def in_order(urls: tuple[str, ...], image: str, path: str) -> tuple[str, ...]:
    """The mirrors as a client's file at `path` should name them: by rate, where there are several to choose from."""
    if len(urls) < 2:
        return urls
    live = host.get_fact(Content, path=path) or b""
    return ordered(measured(urls, image), order_in(live.decode(errors="replace"), urls))
