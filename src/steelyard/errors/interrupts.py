"""Errors of commands that a signal stopped."""

from __future__ import annotations

from .base import Exit, SteelyardError


class Interrupted(SteelyardError):
    """A signal asked the command to stop, and it did before its next step."""

    sentence = "stopped by {signal}: {state}"
    fix = "{then}"
    sample = {
        "where": "steelyard models push",
        "signal": "Ctrl-C (SIGINT)",
        "state": "what hosts have of the versions stays with them",
        "then": "go on: `steelyard models push -i inventories/site`",
    }
    exit = Exit.INTERRUPTED
    signal: str
    state: str
    then: str


class ApplyInterrupted(SteelyardError):
    """A signal stopped an apply before the next task of each host."""

    sentence = "stopped by {signal}: the tasks that ran came to their end, and nothing further was begun{left}"
    fix = "go on: `{again}`"
    sample = {
        "where": "steelyard apply",
        "signal": "SIGTERM",
        "left": "; not through: gpu-2, gpu-3",
        "again": "steelyard apply -i inventories/site --resume",
    }
    exit = Exit.INTERRUPTED
    signal: str
    left: str
    again: str


class OnInterruptUnknown(SteelyardError):
    """--on-interrupt names neither of the two ways."""

    sentence = "`{given}` is no way to leave what is on trial"
    fix = "give `--on-interrupt {nearest}`; there are {allowed}"
    sample = {"where": "--on-interrupt", "given": "hodl", "nearest": "hold", "allowed": "hold, undo"}
    given: str
    nearest: str
    allowed: str
