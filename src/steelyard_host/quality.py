"""A set of prompts with what their answers must look like, asked of the engine itself before clients may."""

from __future__ import annotations

import re
from typing import Any

from steelyard_host import control
from steelyard_host.store import StoreError

ANSWER_S = 120


def answer(service: str, entry: dict[str, Any], engine: str | None = None) -> str:
    """Text of the answer of the service's engine, or of the one named `engine`. Raises StoreError."""
    at = engine or service
    limits = {"model": service, "max_tokens": entry.get("max_tokens", 64), "temperature": 0, "seed": 0}
    if "messages" in entry:
        found = control.post(at, "/v1/chat/completions", {**limits, "messages": entry["messages"]}, ANSWER_S)
        return str(found["choices"][0]["message"]["content"] or "")
    found = control.post(at, "/v1/completions", {**limits, "prompt": entry["prompt"]}, ANSWER_S)
    return str(found["choices"][0]["text"])


def first_wrong(service: str, entries: list[dict[str, Any]], engine: str | None = None) -> str | None:
    """The first answer that does not hold its pattern, in a sentence; None where all do."""
    for number, entry in enumerate(entries, start=1):
        try:
            said = answer(service, entry, engine)
        except (StoreError, KeyError, TypeError, IndexError) as error:
            return "prompt %d of %d: %s" % (number, len(entries), error)
        if not re.search(entry["expect"], said):
            return "prompt %d of %d: the answer %r does not match %r" % (number, len(entries), said[:80], entry["expect"])
    return None
