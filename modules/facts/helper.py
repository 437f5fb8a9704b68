"""Answers of the host helper as JSON; `None` where the helper is not installed yet. Source: steelyard_host."""

from __future__ import annotations

import json
from typing import Any

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.exceptions import FactProcessError
from pyinfra.api.facts import FactBase

from steelyard.host_helper import HELPER, RUN_HELPER


def parse_answer(lines: list[str]) -> dict[str, Any] | None:
    """One line of JSON; None for the word `none`. Raises FactProcessError."""
    if lines == ["none"]:
        return None
    try:
        found = json.loads("".join(lines))
    except ValueError as error:
        raise FactProcessError(f"helper: cannot read {lines}") from error
    if not isinstance(found, dict):
        raise FactProcessError(f"helper: not an object: {lines}")
    return found


class HelperAnswer(FactBase["dict[str, Any] | None"]):
    """What the helper answers to `words`. A host without the helper, or with one that does not know them yet, answers None."""

    def command(self, words: tuple[str, ...]) -> StringCommand:
        asked = [QuoteString(word) for word in words]
        older = "|| { test $? = 2 && echo none; }"  # argparse's status for words that it does not know
        return StringCommand("if test -e", HELPER, "; then", RUN_HELPER, *asked, older, "; else echo none; fi")

    def process(self, output: list[str]) -> dict[str, Any] | None:
        return parse_answer(output)

    @staticmethod
    def default() -> dict[str, Any] | None:
        return None
