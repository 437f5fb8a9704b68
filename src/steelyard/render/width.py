"""Lines of a terminal: their width is counted in columns, of which wide characters take two."""

from __future__ import annotations

import re
from typing import NamedTuple

COLUMNS = 100  # of a line where no terminal says otherwise, and at most
NARROWEST = 40
RED, YELLOW, CYAN = "31", "33", "36"
COLOURS = {
    "refused": RED,
    "failed": RED,
    "unreachable": RED,
    "removal": RED,
    "stop": RED,
    "restart": YELLOW,
    "unknown": CYAN,
}
_UNITS = r"`[^`]*`\S*|\S+"  # a command between backticks is one word where it fits


class MarkedLine(NamedTuple):
    """A line of a result; `mark` is the word at its beginning that stands out on a terminal, by its colour too."""

    text: str
    mark: str = ""


def in_colour(line: MarkedLine) -> str:
    """The line as a terminal shows it."""
    if not line.mark:
        return line.text
    return line.text.replace(line.mark, f"\x1b[1;{COLOURS[line.mark]}m{line.mark}\x1b[0m", 1)


def columns(text: str) -> int:
    """The columns that a line takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # a table of all characters: loaded for those who have others

    return cell_len(text)


def cut(text: str, width: int) -> str:
    """The line, its end replaced by three dots where it is wider."""
    if columns(text) <= width:
        return text
    return f"{_beginning(text, width - 3).rstrip()}..."


def _beginning(text: str, width: int) -> str:
    if text.isascii():
        return text[:width]
    from rich.cells import set_cell_size

    return set_cell_size(text, width)


def wrapped(text: str, width: int, indent: str = "", first: str = "") -> list[str]:
    """The text in lines no wider than `width`, begun with `indent`, the first with `first`; nothing is left out."""
    if "\n" not in text and columns(text) + len(first) <= width:
        return [first + text]
    lines: list[str] = []
    line = first
    for number, paragraph in enumerate(text.splitlines()):
        if number:
            lines.append(line)
            line = indent
        for unit in re.findall(_UNITS, paragraph):
            parts = [unit] if columns(unit) <= width - len(indent) else _halved(unit, width - len(indent))
            for word in parts:
                blank = "" if line in ("", indent, first) else " "
                if columns(line) + len(blank) + columns(word) > width:
                    lines.append(line)
                    line, blank = indent, ""
                line += blank + word
    return [kept for kept in [*lines, line] if kept.strip()]


def _halved(unit: str, width: int) -> list[str]:
    """A word that is wider than a line: a command at its blanks, and what is still wider anywhere."""
    if " " in unit:
        return [part for word in unit.split() for part in ([word] if columns(word) <= width else _halved(word, width))]
    parts = []
    while columns(unit) > width:
        part = _beginning(unit, width).rstrip() or unit[:1]  # a wide character may leave a blank
        parts.append(part)
        unit = unit[len(part) :]
    return [*parts, unit]


def listed(names: list[str], width: int) -> str:
    """The names that fit, with commas, and how many more there are; at least one, cut if need be."""
    text = ", ".join(names)
    if columns(text) <= width:
        return text
    shown: list[str] = []
    for name in names:
        left = len(names) - len(shown) - 1
        if shown and columns(", ".join([*shown, name, f"{left} more"])) > width:
            break
        shown.append(name)
    left = len(names) - len(shown)
    more = f", {left} more" if left else ""
    return cut(", ".join(shown), width - len(more)) + more
