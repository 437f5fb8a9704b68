"""Answers of the host helper as JSON; `None` where the helper is not installed yet. Source: steelyard_host."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TypeVar

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.exceptions import FactProcessError
from pyinfra.api.facts import FactBase

from steelyard.artifacts.helper import HELPER, RUN_HELPER
from steelyard.modules.connectors.helper_call import read_answer

if TYPE_CHECKING:
    from pyinfra.api.host import Host

Answer = TypeVar("Answer")
# a command -> what a helper that does not know it is asked in its place, in the same round trip: a part of the answer
OLDER_COMMANDS = {"doctor": "gpu-health"}


def parse_answer(lines: list[str]) -> dict[str, object] | None:
    """One line of JSON; None for the word `none`. Raises FactProcessError."""
    if lines == ["none"]:
        return None
    try:
        document = json.loads("".join(lines))
    except ValueError as error:
        raise FactProcessError(f"helper: cannot read {lines}") from error
    if not isinstance(document, dict):
        raise FactProcessError(f"helper: not an object: {lines}")
    return document


class HelperAnswer(FactBase["dict[str, object] | None"]):
    """The helper's answer to `words`. A host without the helper, or with one that does not know them yet, answers
    None.
    """

    def command(self, words: tuple[str, ...]) -> StringCommand:
        asked: list[str | QuoteString] = [QuoteString(word) for word in words]
        older = "|| { test $? = 2 && echo none; }"  # argparse's status for words that it does not know
        if words[0] in OLDER_COMMANDS:
            asked += ["|| { test $? = 2 &&", RUN_HELPER, OLDER_COMMANDS[words[0]], "; }"]
        return StringCommand("if test -e", HELPER, "; then", RUN_HELPER, *asked, older, "; else echo none; fi")

    def process(self, output: list[str]) -> dict[str, object] | None:
        return parse_answer(output)

    @staticmethod
    def default() -> dict[str, object] | None:
        return None


def helper_fact(host: Host, kind: type[Answer], *argv: str) -> Answer | None:
    """Return the helper's answer as a value of the wire; None where it is not installed, or does not know the words.

    `kind`: the declared NamedTuple. Raises HostError where the helper answers something else.

    >>> helper_fact(host, VersionState, "store-state", "/models", "llm/small", "v2")
    """
    document = host.get_fact(HelperAnswer, words=argv)
    return None if document is None else read_answer(host.name, kind, argv[0], document)
