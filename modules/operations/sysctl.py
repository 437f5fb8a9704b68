"""Kernel parameters as declared, in the running kernel; the file that keeps them over a boot is `path.file`'s."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from steelyard.api.change import Change, Refusal
from steelyard.api.foreseen import foreseen
from steelyard.modules.facts.sysctl import Sysctl


@foreseen
@operation()
def value(key: str, value: str) -> Generator[StringCommand, None, None]:
    """The running kernel has this value; several words are separated by one space."""
    current = host.get_fact(Sysctl, key=key)
    if current is None:
        yield Refusal(f"the kernel has no parameter {key}; load what brings it, or take it out")
    elif current != value:
        yield Change(
            "sysctl -q -w", QuoteString(f"{key}={value}"), subject=f"sysctl {key}", declared=value, live=current
        )
