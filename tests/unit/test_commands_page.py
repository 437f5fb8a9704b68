"""The reference of commands against the parser's own tree: every command, every option, whole help lines, a proven
example.
"""

from __future__ import annotations

import ast
import re

import pytest
from support.examples import NOTHING, ROOT, SITE, examples

from steelyard.cli.tree import Command, command_tree, leaves

PAGE = (ROOT / "docs/reference/commands.md").read_text()
SECTIONS = dict(re.findall(r"^## `([^`]+)`\n(.*?)(?=^## |\Z)", PAGE, flags=re.M | re.S))
PROOFS = [example for example in examples() if example.needs not in (NOTHING, SITE)]


def name(command: Command) -> str:
    return " ".join(("steelyard", *command.argv))


def test_the_page_has_every_command_and_no_other() -> None:
    assert list(SECTIONS) == [name(command) for command in command_tree()]
    assert len(leaves()) > 45


@pytest.mark.parametrize("command", command_tree(), ids=name)
def test_the_page_has_the_options_of_the_command(command: Command) -> None:
    section = SECTIONS[name(command)]
    assert [
        option for option in command.options if not re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", section)
    ] == []


def test_every_command_has_one_example_and_the_page_shows_it() -> None:
    by_command = {example.command: example for example in examples()}
    assert sorted(by_command) == sorted(" ".join(command.argv) for command in leaves())
    for command in leaves():
        example = by_command[" ".join(command.argv)]
        assert f"steelyard {example.command}" in example.run
        assert f"$ {example.run}\n" in SECTIONS[name(command)]


@pytest.mark.parametrize("command", [command for command in command_tree() if command.is_group], ids=name)
def test_help_lines_are_whole_sentences(command: Command) -> None:
    """Click cuts a first sentence that has no room beside the longest name, at 80 columns as at 100."""
    listed = command.help.split("Commands:\n")[1].splitlines()
    assert [line for line in listed if not line.endswith(".") or line.endswith("..")] == []


def spoken(path: str) -> list[list[str]]:
    """The words of every call, tuple and list of a file that are written out in it; of a call its name too."""
    found = []
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        parts: list[ast.expr] = []
        words = []
        if isinstance(node, ast.Call):
            parts = node.args
            words = [node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")]
        elif isinstance(node, ast.Tuple | ast.List):
            parts = node.elts
        found.append(words + [str(part.value) for part in parts if isinstance(part, ast.Constant)])
    return found


@pytest.mark.parametrize("example", PROOFS, ids=lambda example: example.command)
def test_an_example_that_others_prove_is_run_there_with_its_options(example: object) -> None:
    assert isinstance(example, type(PROOFS[0]))
    options = re.findall(r"(?<= )--?[a-z][a-z-]*", example.run)
    wanted = [*example.command.split(), *options]
    assert [words for words in spoken(example.needs) if set(wanted) <= set(words)], (
        f"{example.needs} does not run {wanted}"
    )
