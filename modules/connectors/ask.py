"""Asks a host's helper to measure, outside a plan: each answer is made anew, and nothing of it is remembered."""

from __future__ import annotations

import json
from typing import Any

from pyinfra.api.command import QuoteString, StringCommand

from steelyard.host_helper import HELPER, IDLE, RUN_HELPER


def ask(host: Any, *words: str, seconds: float = 180, idle: bool = False) -> dict[str, Any] | None:
    """The helper's answer; None where it is not installed, or says nothing. `idle`: what serves goes before it."""
    asked: dict[str, Any] = {"_sudo": bool(host.data.get("_sudo")), "_timeout": seconds}
    if host.data.get("_sudo_password"):
        asked["_sudo_password"] = host.data.get("_sudo_password")
    command = StringCommand(
        "if test -e", HELPER, "; then", IDLE if idle else "", RUN_HELPER, *(QuoteString(word) for word in words), "; fi"
    )
    done, output = host.run_shell_command(command, **asked)
    lines = output.stdout_lines
    try:
        found = json.loads(lines[-1]) if done and lines else None
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
