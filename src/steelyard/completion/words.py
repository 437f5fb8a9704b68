"""Possible next words of a command line: pure, from the words so far, the table of commands, and the names of an
inventory.

The table is `table.json`, written by `make docs` from the parser's own tree: of each command `help`, `commands` by
name, `options` as [spellings, kind of its value or null for a flag, help], `arguments` as [kind, whether it takes
many]. A kind is a list of the values that there are, or one word: `hosts`, `aliases`, `models`, `versions`, `targets`,
`labs`, `lab_hosts` (names of the inventory, or of labs), `files`, or `nothing`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from steelyard.inventory.known_names import KnownNames


GROUP_TARGETS = ("gateway", "dify", "mirror")  # groups whose own units `logs` knows
PATTERN_SIGNS = ":,&!"  # what joins the parts of a host pattern


class Offer(NamedTuple):
    """`values` to what they are; where `files`, the shell offers its files instead."""

    values: dict[str, str]
    files: bool = False


class Line(NamedTuple):
    """A command line, read up to the word that is being typed."""

    command: dict[str, Any]
    given: dict[str, str]  # value of each option, by the first of its spellings
    arguments: list[str]
    pending: list[Any] | None  # the option whose value comes next
    only_arguments: bool  # after `--`


def read_line(table: dict[str, Any], argv: list[str]) -> Line:
    """The line of `argv`, which follows the program's name. A word that is no command ends the commands."""
    given: dict[str, str] = {}
    command, arguments = table, []
    pending, only_arguments = None, False
    for word in argv:
        if pending is not None:
            _note(given, pending[0][0], word)
            pending = None
        elif only_arguments:
            arguments.append(word)
        elif word == "--":
            only_arguments = True
        elif word.startswith("-") and len(word) > 1:
            name, _, value = word.partition("=")
            option = _option(command, name)
            if option is not None and option[1] is not None and "=" not in word:
                pending = option
            elif option is not None:
                _note(given, option[0][0], value)
        elif word in command["commands"] and not arguments:  # after a word that is no command, nothing is known
            command = command["commands"][word]
        else:
            arguments.append(word)
    return Line(command, given, arguments, pending, only_arguments)


def _note(given: dict[str, str], option: str, value: str) -> None:
    """Of several values the last; of inventories all, which are layers."""
    given[option] = f"{given[option]},{value}" if option == "-i" and option in given else value


def offer(table: dict[str, Any], argv: list[str], current: str, names: KnownNames) -> Offer:
    """The words that `current`, which is being typed, may become: only those that begin with it."""
    line = read_line(table, argv)
    if line.pending is not None:
        offered = _of_kind(line.pending[1], line, current, names)
    elif current.startswith("-") and not line.only_arguments:
        name, equals, typed = current.partition("=")
        option = _option(line.command, name) if equals else None
        if option is not None and option[1] is not None:
            inner = _of_kind(option[1], line, typed, names)
            offered = Offer({f"{name}={value}": what for value, what in inner.values.items()}, inner.files)
        else:
            offered = _options(line)
    elif line.command["commands"]:
        commands = {} if line.arguments else line.command["commands"]
        offered = Offer({name: command["help"] for name, command in commands.items()})
    else:
        kind = _argument(line)
        offered = _of_kind(kind, line, current, names) if kind is not None else _options(line)
    return Offer({value: what for value, what in offered.values.items() if value.startswith(current)}, offered.files)


def _option(command: dict[str, Any], name: str) -> list[Any] | None:
    for option in command["options"]:
        if name in option[0]:
            return list(option)
    return None


def _options(line: Line) -> Offer:
    """Options that were not given yet, by their longest spelling."""
    left = [option for option in line.command["options"] if option[0][0] not in line.given]
    return Offer({max(spellings, key=len): what for spellings, _, what in left})


def _argument(line: Line) -> Any:
    """Kind of the argument that comes next; None where no more may."""
    arguments = line.command["arguments"]
    if len(line.arguments) < len(arguments):
        return arguments[len(line.arguments)][0]
    return arguments[-1][0] if arguments and arguments[-1][1] else None


def _of_kind(kind: Any, line: Line, current: str, names: KnownNames) -> Offer:
    if isinstance(kind, list):
        return Offer(dict.fromkeys(kind, ""))
    if kind == "files":
        return Offer({}, files=True)
    if kind == "hosts":
        before = current[: max(current.rfind(sign) for sign in PATTERN_SIGNS) + 1]
        groups = {f"{before}{group}": "group" for group in names.groups}
        return Offer({**{f"{before}{host}": "host" for host in names.hosts}, **groups})
    if kind == "labs":
        return Offer(dict.fromkeys(names.labs, "lab"))
    if kind == "lab_hosts":
        return Offer(dict.fromkeys(names.labs.get(line.given.get("--name", "lab"), []), "host"))
    if kind == "versions":
        first = line.arguments[0] if line.arguments else ""
        return Offer(dict.fromkeys(names.models.get(names.aliases.get(first, first), []), "version"))
    if kind == "aliases":
        return Offer(dict(names.aliases))
    if kind == "targets":
        targets = {**names.aliases, **dict.fromkeys(names.hosts, "host"), **dict.fromkeys(names.models, "model")}
        targets |= {group: "group" for group in GROUP_TARGETS if group in names.groups}
        return Offer({name: what for name, what in targets.items() if name not in line.arguments})
    if kind == "models":
        return Offer(dict.fromkeys([model for model in names.models if model not in line.arguments], ""))
    return Offer({})
