"""Asks a host's helper to measure, outside a plan: each answer is made anew, and nothing of it is remembered."""

from __future__ import annotations

import json
from typing import Any

from pyinfra.api.command import QuoteString, StringCommand

from steelyard.errors import HelperRefused
from steelyard.host_helper import HELPER, IDLE, RUN_HELPER
from steelyard.problem import HostProblem

# what must end well although the connection may break: in a unit of its own, of which there is one at a time
UNIT = "systemd-run --quiet --collect --unit={unit} {wait}"


def ask(
    host: Any,
    *words: str,
    seconds: float = 180,
    idle: bool = False,
    stdin: str | None = None,
    unit: str = "",
    wait: bool = True,
) -> dict[str, Any] | None:
    """The helper's answer; None where it is not installed, or does not know the words yet. `idle`: what serves goes before it.

    `unit`: it runs in that unit, so a connection that breaks does not end it; without `wait` nobody waits for its answer.

    Raises HostProblem with its sentence where it refuses.
    """
    asked: dict[str, Any] = {"_sudo": bool(host.data.get("_sudo")), "_timeout": seconds}
    if host.data.get("_sudo_password"):
        asked["_sudo_password"] = host.data.get("_sudo_password")
    if stdin is not None:
        asked["_stdin"] = stdin
    quoted = [QuoteString(word) for word in words]
    older = "|| test $? = 2"  # argparse's status for words that it does not know
    before = IDLE if idle else UNIT.format(unit=unit, wait="--wait --pipe" if wait else "") if unit else ""
    command = StringCommand("if test -e", HELPER, "; then", before, RUN_HELPER, *quoted, older, "; fi")
    done, output = host.run_shell_command(command, **asked)
    lines = output.stdout_lines
    if not done:
        why = (output.stderr_lines or ["it said nothing"])[-1]
        raise HostProblem(HelperRefused(where=host.name, command=words[0], why=why))
    try:
        found = json.loads(lines[-1]) if lines else None
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
