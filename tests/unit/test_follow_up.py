"""Commands that sentences name exist, with those options, and get what the user's own call gave."""

from __future__ import annotations

import ast
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import typer.main
from test_documented_commands import commands, wrong_in

from steelyard.api.finding import Finding
from steelyard.cli import program
from steelyard.cli.tree import leaves
from steelyard.drift.report import DriftReport
from steelyard.render import follow_up
from steelyard.render.follow_up import SPELLED, TAKES, Given, carried, given_in
from steelyard.render.redaction import MASK, Redactor
from steelyard.render.reports import FORMATS
from steelyard.render.reports.requested import RequestedReports
from steelyard.render.screen import Screen

ROOT = Path(__file__).parent.parent.parent
SOURCES = [path for folder in ("src", "modules", "roles") for path in sorted((ROOT / folder).rglob("*.py"))]
STEELYARD = str(Path(sys.executable).parent / "steelyard")
PROD: Given = (("i", "inventories/prod"), ("l", "gpu-1"), ("d", "serve"))


@pytest.fixture(scope="module")
def tree() -> Any:
    program.register([])
    return typer.main.get_command(program.app)


def texts(path: Path) -> list[str]:
    """Every text of a file, those of f-strings whole, with `X` for what is filled in."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.append(re.sub(r"\{[^{}]*\}", "X", node.value))
        elif isinstance(node, ast.JoinedStr):
            found.append("".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values))
    return found


def test_commands_of_every_sentence_exist_with_their_options(tree: Any) -> None:
    shown = [
        (str(path.relative_to(ROOT)), command)
        for path in SOURCES
        for text in texts(path)
        for command in re.findall(r"`(steelyard [^`]+)`", text)
        if "|" not in command
    ]
    assert len(shown) > 60
    assert [(wrong, *each) for each in shown for words in commands(each[1]) if (wrong := wrong_in(tree, words))] == []


def test_bare_commands_of_fixes_exist_too(tree: Any) -> None:
    """A fix may be a command and nothing else."""
    bare = [
        text for path in SOURCES for text in texts(path) if re.match(r"steelyard [a-z]+ .*-", text) and "\n" not in text
    ]
    assert bare
    assert [(wrong, text) for text in bare for words in commands(text) if (wrong := wrong_in(tree, words))] == []


def test_what_each_command_takes_is_what_the_parser_says() -> None:
    takes = {
        " ".join(command.argv): "".join(
            kind for kind, spellings in SPELLED.items() if set(spellings) <= set(command.options)
        )
        for command in leaves()
        if command.argv[0] != "lab"
    }
    assert {name: kinds for name, kinds in takes.items() if kinds} == TAKES


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "`steelyard apply --resume` goes on",
            "`steelyard apply -i inventories/prod -l gpu-1 --deploy serve --resume` goes on",
        ),
        ("see `steelyard lock show`", "see `steelyard lock show -i inventories/prod`"),
        ("`steelyard models add x -iother`", "`steelyard models add x -iother`"),
        ("`steelyard lock break -i other`", "`steelyard lock break -i other`"),
        (
            "`steelyard apply --deploy store` installs it",
            "`steelyard apply -i inventories/prod -l gpu-1 --deploy store` installs it",
        ),
        ("`steelyard models push llm/x`", "`steelyard models push -i inventories/prod -l gpu-1 llm/x`"),
        ("saved; `steelyard apply site.plan`", "saved; `steelyard apply site.plan`"),
        ("`steelyard lab up --name x`", "`steelyard lab up --name x`"),
        ("`steelyard init inventories/NAME`", "`steelyard init inventories/NAME`"),
        ("no command here", "no command here"),
    ],
)
def test_a_named_command_gets_what_was_given(text: str, shown: str) -> None:
    assert carried(text, PROD) == shown
    assert carried(text, ()) == text


@pytest.mark.parametrize(
    ("words", "given"),
    [
        (["plan"], ()),
        (["plan", "-i", "a b", "--limit=gpu"], (("i", "a b"), ("l", "gpu"))),
        (["apply", "-ix", "--deploy", "serve", "-i", "y"], (("i", "x,y"), ("d", "serve"))),
        (["lab", "exec", "gpu-1", "--", "ls", "-l", "x"], ()),
        (["lab", "exec", "gpu-1", "ls", "-l", "x"], ()),
        (["plan", "-vi", "x", "-vvlgpu"], (("i", "x"), ("l", "gpu"))),
        (["apply", "--vault-password-file", "p", "-l"], (("v", "p"),)),
    ],
)
def test_what_a_call_gives(words: list[str], given: Given) -> None:
    assert given_in(words) == given


def test_the_printed_command_is_of_the_inventory_that_was_used(tmp_path: Path) -> None:
    """As it stands, from where the user stands."""
    folder = tmp_path / "prod site"
    folder.mkdir()
    (folder / "hosts.yml").write_text("all: {children: {gpu: {hosts: {g1: }}}}\n")
    words = ["apply", "--resume", "--yes", "-i", str(folder)]
    done = subprocess.run([STEELYARD, *words], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert f"fix: run `steelyard apply -i '{folder}'` without `--resume`" in done.stderr


def test_a_document_stays_one_whatever_the_inventory_is_called_and_the_secrets_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, secret = 'it\'s "prod"\\é', 'pä"ss\\word'
    screen = Screen(json=True)
    screen.redactor = Redactor([secret])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(follow_up, "_given", (("i", folder),))
        screen.document("apply", {"fix": "run `steelyard apply --resume`", "words": f"it is {secret}!"})
    shown = json.loads(capsys.readouterr().out)
    assert shlex.split(shown["fix"].strip("run `"))[2:] == ["-i", folder, "--resume"]
    assert shown["words"] == f"it is {MASK}!"


def test_neither_does_a_report_break(tmp_path: Path) -> None:
    folder, secret = 'it\'s <"prod"> & co', 'pä"ss\\<word>&'
    finding = Finding("h", "x.y", "subject", "a", secret, "`steelyard apply`")
    screen = Screen()
    screen.redactor = Redactor([secret])
    wanted = tuple((name, tmp_path / name) for name in FORMATS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(follow_up, "_given", (("i", folder),))
        RequestedReports(wanted).write(tmp_path, DriftReport((finding,), ()), ("h",), (), screen.said)
    json.loads((tmp_path / "gitlab").read_text())
    json.loads((tmp_path / "sarif").read_text())
    failure = ElementTree.parse(tmp_path / "junit").find(".//failure")
    assert failure is not None
    assert shlex.quote(folder) in str(failure.text)
    assert not [name for name in FORMATS if "word" in (tmp_path / name).read_text()]
