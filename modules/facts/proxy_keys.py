"""Keys that our proxies accept, as maps on disk list them: hashes with an end, never a key. Source: coreutils, awk.

A hash leaves its host cut to its first digits: enough to tell two keys apart.
"""

from __future__ import annotations

from dataclasses import dataclass

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.exceptions import FactProcessError
from pyinfra.api.facts import FactBase

from steelyard.serving.key_ends import NEVER
from steelyard.serving.service_keys import DIGITS


def parse_client_keys(lines: list[str]) -> dict[str, dict[str, int]]:
    """`HASH END NAME` lines to each client's hashes and their ends; `none` to nothing. Raises FactProcessError."""
    clients: dict[str, dict[str, int]] = {}
    try:
        for line in lines:
            if line != "none":
                sha256, end, name = line.split(" ", 2)
                clients.setdefault(name, {})[sha256] = int(end)
    except ValueError as error:
        raise FactProcessError("client keys: cannot read them") from error
    return clients


class ClientKeys(FactBase["dict[str, dict[str, int]]"]):
    """Clients of the maps `keys` (`HASH NAME`) and `ends` (`HASH SECONDS`): a hash's first digits to its end."""

    def command(self, keys: str, ends: str) -> StringCommand:
        at, ending = QuoteString(keys), QuoteString(ends)
        joined = StringCommand(
            # a number that large is text, or mawk prints it as 1e+10
            f"awk -v never={NEVER} 'NR == FNR && FILENAME == ARGV[1] {{ end[$1] = $2; next }} "
            f"{{ print substr($1, 1, {DIGITS}), ($1 in end) ? end[$1] : never, substr($0, length($1) + 2) }}'",
            "$(test -f",
            ending,
            "&& echo",
            ending,
            "|| echo /dev/null)",
            at,
        )
        return StringCommand("if test -s", at, ";", "then", joined, "; else echo none; fi")

    def process(self, output: list[str]) -> dict[str, dict[str, int]]:
        return parse_client_keys(output)

    @staticmethod
    def default() -> dict[str, dict[str, int]]:
        return {}


@dataclass(frozen=True)
class KeysOfBefore:
    """Keys that a front accepts. `declared` are those of the file of declared ones, `SERVICE:DIGITS`, or the digits
    alone of one for all services; `unended` are keys of before without an end; `older` is whether keys lie here as a
    release before this one kept them.
    """

    declared: tuple[str, ...] = ()
    is_there: bool = False
    unended: int = 0
    older: bool = False


def parse_keys_of_before(lines: list[str]) -> KeysOfBefore:
    """`key=value` lines to a state. Raises FactProcessError."""
    try:
        values = dict(line.split("=", 1) for line in lines)
        return KeysOfBefore(
            tuple(values["declared"].split()),
            values["before"] == "file",
            int(values["unended"] or 0),
            values["older"] != "",
        )
    except (KeyError, ValueError) as error:
        raise FactProcessError("keys of before: cannot read them") from error


class AcceptedBefore(FactBase[KeysOfBefore]):
    """State of the maps `declared` and `before` of a front, and of the folder `older` with keys in plain."""

    def command(self, declared: str, before: str, older: str) -> StringCommand:
        at, kept, folder = QuoteString(declared), QuoteString(before), QuoteString(older)
        cut = f"""awk '{{ print substr($1, 1, index($1, ":") + {DIGITS}) }}'"""
        return StringCommand(
            'echo "declared=$(test -f',
            at,
            "&&",
            cut,
            at,
            "| tr '\\n' ' ')\"; echo \"before=$(test -f",
            kept,
            '&& echo file)"; echo "unended=$(test -f',
            kept,
            f"&& grep -c ' {NEVER}$'",
            kept,
            ')"; echo "older=$(find',
            folder,
            '-type f 2>/dev/null | head -n 1)"',
        )

    def process(self, output: list[str]) -> KeysOfBefore:
        return parse_keys_of_before(output)

    @staticmethod
    def default() -> KeysOfBefore:
        return KeysOfBefore()
