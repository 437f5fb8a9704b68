"""The helper's command line is a contract: hosts run older helpers under newer controllers, and the reverse."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from steelyard_host.commands import parser, services

WORDS = Path(__file__).parent.parent / "data" / "helper-commands.txt"


def described(of: argparse.ArgumentParser) -> dict[str, str]:
    """Every command of a parser, as one line: its arguments in their order, and its help."""
    (kinds,) = [action for action in of._actions if isinstance(action, argparse._SubParsersAction)]
    helps = {action.dest: action.help for action in kinds._choices_actions}
    return {
        name: " ".join([name, *(argument(each) for each in command._actions[1:]), "|", str(helps[name])])
        for name, command in kinds.choices.items()
    }


def argument(action: argparse.Action) -> str:
    """`--order:int=100`, `folder:Path`, `servers+`, with what help says of it."""
    plain = action.type is None or action.type is services.loaded  # a service's name, which is looked up here
    kind = "" if plain else f":{getattr(action.type, '__name__', '')}"
    default = f"={action.default!r}" if action.option_strings else ""
    told = "".join(f" ({text})" for text in (action.metavar, action.help) if text)
    return (
        (action.option_strings or [action.dest])[0]
        + (str(action.nargs) if action.nargs else "")
        + kind
        + default
        + told
    )


def test_every_command_has_the_words_and_arguments_that_hosts_know() -> None:
    assert sorted(described(parser.commands()).values()) == WORDS.read_text().splitlines()


@pytest.mark.parametrize("name", [line.split()[0] for line in WORDS.read_text().splitlines()])
def test_a_call_loads_the_group_that_has_its_command(name: str) -> None:
    assert described(parser.commands([name])).get(name) == described(parser.commands())[name]
    assert len(described(parser.commands([name]))) < len(described(parser.commands()))


def test_what_no_group_has_is_held_against_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    for argv in (["stroe-state"], ["store-stat"], []):
        with pytest.raises(SystemExit):
            parser.parse(argv)
        assert "usage: steelyard-host" in capsys.readouterr().err
