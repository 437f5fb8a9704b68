"""Bytes under a path; one exec. Source: du."""

from __future__ import annotations

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.facts import FactBase


def parse_used(lines: list[str]) -> int | None:
    """The first word of du's line; None where there is no such path."""
    return int(lines[0].split()[0]) if lines and lines[0][:1].isdigit() else None


class Used(FactBase["int | None"]):
    """Bytes that `path` takes on disk, one file system, hard links once."""

    def command(self, path: str) -> StringCommand:
        return StringCommand("du -sx --block-size=1", QuoteString(path), "2>/dev/null; true")

    def process(self, output: list[str]) -> int | None:
        return parse_used(output)

    @staticmethod
    def default() -> int | None:
        return None
