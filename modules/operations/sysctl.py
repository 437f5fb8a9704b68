"""Kernel parameters as declared, in the running kernel; the file that keeps them over a boot is `path.content`'s."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from steelyard.change import Change
from steelyard.modules.facts.sysctl import Sysctl
from steelyard.refusal import Refusal


@operation()
def value(key: str, value: str) -> Generator[StringCommand, None, None]:
    """The running kernel has this value; several words are separated by one space."""
    now = host.get_fact(Sysctl, key=key)
    if now is None:
        yield Refusal(f"the kernel has no parameter {key}; load what brings it, or take it out")
    elif now != value:
        yield Change("sysctl -q -w", QuoteString(f"{key}={value}"), subject=f"sysctl {key}", declared=value, live=now)
