"""A point in a deploy that every host reaches before any goes on."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra.api.command import StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host, state

from steelyard.api.barrier import declare_barrier


@operation()
def barrier() -> Generator[StringCommand, None, None]:
    """Changes nothing. pyinfra orders tasks per host only; a task all hosts share is what makes them wait for each
    other.

    Without it a GPU host asks the mirror for packages while the mirror is still being installed.
    """
    if host.current_op_hash:
        declare_barrier(state, host.current_op_hash)
    host.noop("every host is here")
    yield from ()
