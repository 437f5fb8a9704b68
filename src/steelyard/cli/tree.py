"""The command tree as the parser has it: what the reference page is made of, and what tests hold pages and examples
against.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import typer

HELP_COLUMNS = 78  # what a terminal of 80 columns and more gets


@dataclass(frozen=True)
class Command:
    """One command or group. `argv` follows `steelyard`; the program itself has none. `options`: all spellings."""

    argv: tuple[str, ...]
    help: str
    options: tuple[str, ...]
    is_group: bool


@cache
def command_tree() -> tuple[Command, ...]:
    """Every command and group in the order of the help, each group before what is in it. Loads every command's file."""
    from .program import app, register

    register([])
    return tuple(_walk(typer.main.get_command(app), (), None))


def leaves() -> tuple[Command, ...]:
    """Every command that can be run."""
    return tuple(command for command in command_tree() if not command.is_group)


def _walk(command: Any, words: tuple[str, ...], parent: typer.Context | None) -> Iterator[Command]:
    name = words[-1] if words else "steelyard"
    context = typer.Context(
        command, info_name=name, parent=parent, terminal_width=HELP_COLUMNS, **command.context_settings
    )
    spelled = [spelling for option in command.get_params(context) for spelling in option.opts + option.secondary_opts]
    below = getattr(command, "commands", {})
    lines = (line.rstrip() for line in command.get_help(context).strip().splitlines())
    yield Command(words, "\n".join(lines), tuple(word for word in spelled if word.startswith("-")), bool(below))
    for child in command.list_commands(context) if below else ():
        if not below[child].hidden:
            yield from _walk(below[child], (*words, child), context)
