"""Network interfaces of a host; one exec. Source: `ip addr`."""

from __future__ import annotations

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.facts import FactBase


class InterfaceOf(FactBase[str | None]):
    """Name of the interface that has `address`; None where none has."""

    def command(self, address: str) -> StringCommand:
        return StringCommand("ip -o addr show to", QuoteString(address))

    def process(self, output: list[str]) -> str | None:
        fields = output[0].split() if output else []
        return fields[1] if len(fields) > 1 else None
