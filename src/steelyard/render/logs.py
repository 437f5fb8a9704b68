"""Entries of journals as lines: time, host, unit, and what was said, as safe for a terminal as any text."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol
from zlib import crc32

from steelyard.errors.visible import no_commands_in_json, one_line

if TYPE_CHECKING:
    from .screen import Screen

SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07\x1b]*(\x07|\x1b\\\\)?")  # colours and titles
COLOURS = (36, 32, 33, 35, 34, 96, 92, 93, 95, 94)


class Entry(Protocol):
    """An entry as `workflows` reads it."""

    @property
    def at(self) -> int: ...
    @property
    def host(self) -> str: ...
    @property
    def unit(self) -> str: ...
    @property
    def text(self) -> str: ...
    def as_json(self) -> dict[str, object]: ...


def escaped(text: str) -> str:
    """The text without colours, and with nothing that a terminal would obey.

    >>> escaped("\x1b[31mred\x1b[0m a\rb")
    'red a\\\\rb'
    """
    return one_line(SEQUENCE.sub("", text.expandtabs(4)))


def log_lines(entry: Entry, width: int, coloured: bool) -> list[str]:
    """The entry's lines; of a message of several each has its head."""
    at = datetime.fromtimestamp(entry.at / 1e6, UTC)
    host = one_line(entry.host).ljust(width)
    if coloured:
        host = f"\x1b[{COLOURS[crc32(entry.host.encode()) % len(COLOURS)]}m{host}\x1b[0m"
    unit = entry.unit.removeprefix("steelyard-").removesuffix(".service")
    head = f"{at:%H:%M:%S}.{entry.at // 1000 % 1000:03d} {host} {escaped(unit)}:"
    return [f"{head} {escaped(line)}" for line in entry.text.splitlines() or [""]]


def show_logs(screen: Screen, entries: Sequence[Entry], width: int, coloured: bool) -> None:
    """Show entries, masked; with `--json` each is an object on a line of its own: a stream, and no document."""
    for entry in entries:
        if screen.json:
            row = entry.as_json()
            print(no_commands_in_json(json.dumps({**row, "text": screen.mask(str(row["text"]))})))
        else:
            for line in log_lines(entry, width, coloured):
                print(screen.mask(line))
