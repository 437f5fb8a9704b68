"""Commands that pages show exist, with the options they are shown with: the parser's own tree is asked."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from pages import READMES, ROOT

from steelyard.cli import program

GENERATED = ("commands.md",)  # written from the tree itself
PAGES = [
    *(ROOT / name for name in (*READMES, "CONTRIBUTING.md", "SECURITY.md")),
    *(page for page in sorted((ROOT / "docs").rglob("*.md")) if page.name not in GENERATED),
]
PROGRAM = re.compile(r"^(\S*/)?steelyard$")
ENDS = {"|", "||", "&&", ";", "&", ">", "<", "2>"}


@pytest.fixture(scope="module")
def tree() -> Any:
    """The whole command tree, with every group loaded."""
    program.register([])
    return typer.main.get_command(program.app)


def code(page: str) -> Iterator[str]:
    """Lines of blocks of code, without transcripts' output, and code within lines."""
    for block in re.findall(r"^```(?:sh|console)\n(.*?)^```$", page, flags=re.S | re.M):
        yield from re.sub(r"\\\n\s*", " ", block).splitlines()
    for block in re.findall(r"^```text\n(.*?)^```$", page, flags=re.S | re.M):
        yield from (line for line in block.splitlines() if line.startswith("$ steelyard"))
    outside = re.sub(r"^```.*?^```$", "", page, flags=re.S | re.M)
    yield from re.findall(r"^(?: {4,}|\t)(.+)$", outside, flags=re.M)
    yield from re.findall(r"`([^`\n]+)`", outside)


def commands(line: str) -> Iterator[list[str]]:
    """The words of each call of the program in a line."""
    try:
        words = shlex.split(line, comments=True)
    except ValueError:
        words = line.split()
    for at, word in enumerate(words):
        if PROGRAM.match(word) and (at == 0 or words[at - 1] in {*ENDS, "$", "sudo", "exec"}):
            rest = words[at + 1 :]
            yield rest[: next((place for place, each in enumerate(rest) if each in ENDS), len(rest))]


def wrong_in(tree: Any, words: list[str]) -> str:
    """What the tree does not know of a call: a command, or an option; empty where it knows all."""
    command, path = tree, ["steelyard"]
    while words and hasattr(command, "commands") and re.fullmatch(r"[a-z][a-z-]*", words[0]):
        if words[0] not in command.commands:
            return f"{' '.join(path)} has no command {words[0]}"
        command, path, words = command.commands[words[0]], [*path, words[0]], words[1:]
    known = {name for parameter in command.params for name in parameter.opts} | {"--help", "-h"}
    for word in words[: words.index("--") if "--" in words else len(words)]:
        option = word.split("=")[0]
        if re.fullmatch(r"--[a-z][a-z-]*|-[a-z]", option) and option not in known:
            return f"{' '.join(path)} has no option {option}"
    return ""


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_of_a_page_exist_with_their_options(page: Path, tree: Any) -> None:
    shown = [(line, words) for line in code(page.read_text()) for words in commands(line)]
    assert [(wrong, line) for line, words in shown if (wrong := wrong_in(tree, words))] == []


def test_both_readmes_show_the_commands_of_a_first_hour() -> None:
    for name in READMES:
        first = {words[0] for line in code((ROOT / name).read_text()) for words in commands(line) if words}
        assert {"init", "doctor", "plan", "apply", "drift", "rollout", "rollback"} <= first


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("steelyard rollout tiny v2 --canary 5%", ""),
        (".venv/bin/steelyard plan -o site.plan && steelyard aply site.plan", "steelyard has no command aply"),
        ("steelyard models psuh", "steelyard models has no command psuh"),
        ("steelyard drift --reprot junit:drift.xml", "steelyard drift has no option --reprot"),
        ("steelyard lab exec gpu-1 -- ls --colour", ""),
        ("pip install steelyard", ""),
    ],
)
def test_a_command_that_does_not_exist_is_found(tree: Any, line: str, wrong: str) -> None:
    assert next((told for words in commands(line) if (told := wrong_in(tree, words))), "") == wrong
