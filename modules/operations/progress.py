"""Words before a command that takes long: the helper runs it, and tells the controller meanwhile how far it is.

Where our connector does not listen, nothing is told; the command, its output and its exit status are the same either
way.
"""

from __future__ import annotations

from pyinfra.api.command import QuoteString

from steelyard.artifacts.helper import RUN_HELPER

Words = tuple[str | QuoteString, ...]


def wheel_progress(folder: str, index: str, lock: str) -> Words:
    """Return the words before pip, which installs the wheels of `lock` from `index` into the environment `folder`:
    bytes, then wheels.
    """
    return (RUN_HELPER, "install-wheels", QuoteString(folder), QuoteString(index), QuoteString(lock))


def start_progress(unit: str) -> Words:
    """Return the words before a start of an engine's unit, which ends when it is ready: what its log says it has
    done.
    """
    return (RUN_HELPER, "start-unit", QuoteString(unit))
