"""Advice as values: an operator should know it, and no task can mend it.

It is no change, no unknown, and moves no exit code.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Advice(NamedTuple):
    """One thing about one host. `code` is `role.subject` and stable; `fix` is an edit or a command."""

    host: str
    code: str
    text: str
    fix: str


class Hint(NamedTuple):
    """Advice before it is known for which host: what the pure functions of roles give."""

    code: str
    text: str
    fix: str


def advise(hint: Hint) -> None:
    """File a hint for the host in context; outside our engine (plain pyinfra) it is only logged."""
    from pyinfra import logger
    from pyinfra.context import host

    file: Callable[[Advice], None] | None = host.data.get("file_advice", None)
    advice = Advice(str(host.data.get("host_name", host.name)), *hint)
    if file is not None:
        file(advice)
    logger.info("advice for %s: %s", advice.host, advice.text)
