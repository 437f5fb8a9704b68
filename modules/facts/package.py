"""Debian packages that are installed now, with versions; one exec. Source: dpkg-query."""

from __future__ import annotations

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.facts import FactBase


def parse_packages(lines: list[str]) -> dict[str, str]:
    """`ii NAME VERSION` lines to name and version; other states and the closing line are passed over."""
    packages = {}
    for line in lines:
        fields = line.split()
        if len(fields) == 3 and fields[0] == "ii":
            packages[fields[1]] = fields[2]
    return packages


class Packages(FactBase[dict[str, str]]):
    """Packages among `packages` that are fully installed. dpkg-query ends with 1 where one is unknown: that is an
    answer.
    """

    def command(self, packages: tuple[str, ...]) -> StringCommand:
        names = [QuoteString(name) for name in packages]
        asked = StringCommand(r"dpkg-query -W -f '${db:Status-Abbrev} ${Package} ${Version}\n'", *names, "2>/dev/null")
        return StringCommand(asked, "; test $? -le 1 && echo end")

    def process(self, output: list[str]) -> dict[str, str]:
        return parse_packages(output)

    @staticmethod
    def default() -> dict[str, str]:
        return {}
