"""Guides name commands and options that there are, and begin with what a reader has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.guide_text import GUIDES, steelyard_calls, steps


def command_tree() -> Any:
    """All commands, loaded."""
    import typer.main

    from steelyard.cli import program

    program.register([])
    return typer.main.get_command(program.app)


TREE = command_tree()


def leaf(words: list[str]) -> tuple[Any, list[str]]:
    """The command that words name, and what is left of them."""
    command, left = TREE, list(words)
    while left and hasattr(command, "commands") and not left[0].startswith("-"):
        assert left[0] in command.commands, f"there is no command `steelyard {' '.join(words)}`"
        command = command.commands[left.pop(0)]
    return command, left


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.stem)
def test_every_command_of_a_guide_is_in_the_command_tree_with_its_options(path: Path) -> None:
    for line, words in steelyard_calls(path):
        command, left = leaf(words)
        known = {name for parameter in command.params for name in parameter.opts}
        unknown = [word for word in left if word.startswith("-") and word.split("=")[0] not in known]
        assert unknown == [], f"{path.name}:{line}: {' '.join(words)}"


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.stem)
def test_a_guide_is_one_path_in_the_second_person(path: Path) -> None:
    text = path.read_text()
    assert steps(path)
    assert "\n    .venv" not in text, "a command outside a shell block is run by nobody"
    assert " you " in f" {text.lower()} "
