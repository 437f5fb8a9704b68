"""The lines of a text file that match, as they are now; one exec. Source: grep."""

from __future__ import annotations

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.facts import FactBase

NO_FILE = "none"


def parse_lines(lines: list[str]) -> list[str] | None:
    """Lines after a leading `:`; None for the word `none`, where there is no file."""
    return None if lines == [NO_FILE] else [line[1:] for line in lines]


class MatchingLines(FactBase["list[str] | None"]):
    """Lines of `path` that match the extended regular expression `match`, or are exactly `line` where it is not
    given.
    """

    def command(self, path: str, line: str, match: str | None = None) -> StringCommand:
        at = QuoteString(path)
        looked = ["grep -E -e", QuoteString(match)] if match is not None else ["grep -x -F -e", QuoteString(line)]
        matching = StringCommand(*looked, at, "| sed s/^/:/")
        return StringCommand("if test -f", at, "; then", matching, f"; else echo {NO_FILE}; fi")

    def process(self, output: list[str]) -> list[str] | None:
        return parse_lines(output)

    @staticmethod
    def default() -> list[str] | None:
        return []  # what pyinfra takes for no output
