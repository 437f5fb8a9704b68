"""A system account as the name service gives it now; one exec. Source: getent, id."""

from __future__ import annotations

from dataclasses import dataclass

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.exceptions import FactProcessError
from pyinfra.api.facts import FactBase


@dataclass(frozen=True)
class AccountState:
    """`groups` holds every group, the primary one too."""

    exists: bool
    home: str | None = None
    shell: str | None = None
    groups: tuple[str, ...] = ()


def parse_account(lines: list[str]) -> AccountState:
    """A passwd line and a line of group names. Raises FactProcessError."""
    if lines == ["none"]:
        return AccountState(False)
    try:
        fields = lines[0].split(":")
        return AccountState(True, fields[5], fields[6], tuple(sorted(lines[1].split())))
    except IndexError as error:
        raise FactProcessError(f"account: cannot read {lines}") from error


class Account(FactBase[AccountState]):
    """State of the account `user`."""

    def command(self, user: str) -> StringCommand:
        name = QuoteString(user)
        return StringCommand("if getent passwd", name, "; then id -Gn", name, "; else echo none; fi")

    def process(self, output: list[str]) -> AccountState:
        return parse_account(output)

    @staticmethod
    def default() -> AccountState:
        return AccountState(False)
