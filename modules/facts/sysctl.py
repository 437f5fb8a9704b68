"""A kernel parameter as the kernel has it now, whatever the files say; one exec. Source: /proc/sys."""

from __future__ import annotations

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.facts import FactBase


def parse_value(lines: list[str]) -> str | None:
    """Words with one space between them; None where the kernel has no such parameter."""
    return " ".join(" ".join(lines).split()) or None


class Sysctl(FactBase["str | None"]):
    """Value of `key`, written with dots."""

    def command(self, key: str) -> StringCommand:
        at = QuoteString("/proc/sys/" + key.replace(".", "/"))
        return StringCommand("if test -r", at, "; then cat", at, "; fi")

    def process(self, output: list[str]) -> str | None:
        return parse_value(output)

    @staticmethod
    def default() -> str | None:
        return None
