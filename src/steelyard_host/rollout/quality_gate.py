"""A set of prompts with what their answers must look like, asked of the engine itself before clients may."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from steelyard_host.engine import control_api
from steelyard_host.engine.service import HostService
from steelyard_host.errors import HelperError
from steelyard_host.wire.codec import to_json
from steelyard_host.wire.rollout import Prompt

ANSWER_S = 120


def answer(engine: HostService, model: str, prompt: Prompt) -> str:
    """Text of the engine's answer; `model`: the name that it serves, the service's own also of a second engine.

    Raises HelperError.
    """
    body: dict[str, Any] = {"model": model, "max_tokens": prompt.max_tokens, "temperature": 0, "seed": 0}
    if prompt.messages is not None:
        body["messages"] = to_json(prompt.messages)
        chat = control_api.post(engine, "/v1/chat/completions", body, ANSWER_S)
        return str(chat["choices"][0]["message"]["content"] or "")
    completion = control_api.post(engine, "/v1/completions", {**body, "prompt": prompt.prompt}, ANSWER_S)
    return str(completion["choices"][0]["text"])


def first_wrong(engine: HostService, model: str, prompts: Sequence[Prompt]) -> str | None:
    """The first answer that does not match its pattern, in a sentence; None where all do."""
    for number, prompt in enumerate(prompts, start=1):
        where = "prompt %d of %d" % (number, len(prompts))
        try:
            text = answer(engine, model, prompt)
        except (HelperError, KeyError, TypeError, IndexError) as error:
            return "%s: %s" % (where, error)
        if not re.search(prompt.expect, text):
            return "%s: the answer %r does not match %r" % (where, text[:80], prompt.expect)
    return None
