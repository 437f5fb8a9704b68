"""Which Python a host's helper runs under; one exec. Source: python3 itself."""

from __future__ import annotations

from dataclasses import dataclass

from pyinfra.api.command import StringCommand
from pyinfra.api.exceptions import FactProcessError
from pyinfra.api.facts import FactBase


@dataclass(frozen=True)
class PythonAbi:
    """`version` as 3.11, `machine` as x86_64: what a compiled library must be for."""

    version: str
    machine: str


def parse_python(lines: list[str]) -> PythonAbi | None:
    """One line of two words; None where there is no Python. Raises FactProcessError."""
    words = " ".join(lines).split()
    if words == ["none"]:
        return None
    if len(words) != 2:
        raise FactProcessError(f"python: cannot read {lines}")
    return PythonAbi(*words)


class Python(FactBase[PythonAbi | None]):
    """The host's own python3."""

    def command(self) -> StringCommand:
        asked = "import sys, platform; print('%d.%d' % sys.version_info[:2], platform.machine())"
        return StringCommand(f'python3 -I -c "{asked}" 2>/dev/null || echo none')

    def process(self, output: list[str]) -> PythonAbi | None:
        return parse_python(output)

    @staticmethod
    def default() -> PythonAbi | None:
        return None
