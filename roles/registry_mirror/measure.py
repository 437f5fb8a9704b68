"""Asks a host how its mirrors serve it."""

from __future__ import annotations

from typing import Any

from pyinfra.context import host

from steelyard.modules.facts.helper import HelperAnswer

from .mirrors import Mirror


def measured(urls: tuple[str, ...], image: str) -> tuple[Mirror, ...]:
    """Each mirror by a real manifest and blob, from this host. Without a probe image the API alone is asked."""
    found = []
    for url in urls:
        answer: dict[str, Any] | None = host.get_fact(HelperAnswer, words=("registry-probe", url, image))
        if answer is None or answer["error"]:
            found.append(Mirror(url, None, str(answer["error"]) if answer else "the helper is not installed yet"))
        else:
            found.append(Mirror(url, answer["bytes"] / max(answer["seconds"], 0.001) if answer["bytes"] else 1.0))
    return tuple(found)
