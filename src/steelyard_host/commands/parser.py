"""The helper's command line: which group has which commands, and the parser of them all, or of the group in use."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib import import_module

from steelyard_host.commands import Arguments, Call

GROUPS = {  # module of this folder -> first words of its commands
    "store": "store load compiled wheels",
    "services": "ready token watch lazy cause services install start status service haproxy key remains hosts",
    "rollout": "drain front surge unit switch",
    "hardware": "memory gpu doctor hardware disk link registry",
    "dify": "dify",
}


def commands(argv: Sequence[str] = ()) -> argparse.ArgumentParser:
    """The parser with every command, or with those of the group alone that `argv` names.

    Hosts compile what they load at every call, so a call loads the one group that it needs.
    """
    parser = argparse.ArgumentParser(prog="steelyard-host")
    subparsers = parser.add_subparsers(dest="command", required=True)

    def add(name: str, text: str, call: Call) -> argparse.ArgumentParser:
        command = subparsers.add_parser(name, help=text)
        command.set_defaults(call=call)
        return command

    for group in [_group_of(argv[0])] if argv and _group_of(argv[0]) else GROUPS:
        module = import_module("steelyard_host.commands.%s" % group)
        if group == "dify":
            module.register(add, parse)
        else:
            module.register(add)
    return parser


def parse(argv: Sequence[str]) -> Arguments:
    """The command that `argv` names, with its arguments; a wrong one ends the process with its usage."""
    return commands(argv).parse_args(argv)


def _group_of(command: str) -> str | None:
    first = command.split("-")[0]
    return next((group for group, words in GROUPS.items() if first in words.split()), None)
