"""Asks a host's helper to measure or to act, outside a plan: each answer is made anew, and nothing of it is remembered.

>>> trial = call_helper(host, Trial, "switch-confirm", root, project, service, run)
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeVar

from pyinfra.api.command import QuoteString, StringCommand

from steelyard.api.host_error import HostError
from steelyard.artifacts.helper import HELPER, IDLE, RUN_HELPER
from steelyard.errors import HelperRefused, HelperUnreadable
from steelyard_host.wire.codec import WireError, from_json

if TYPE_CHECKING:
    from pyinfra.api.host import Host

Answer = TypeVar("Answer")
# what must end well although the connection may break: in a unit of its own, of which there is one at a time. One that
# was killed stays, `--collect` or not, where systemd is reloaded while the unit that its failure started runs
UNIT = "systemctl reset-failed {unit} 2>/dev/null; systemd-run --quiet --collect --unit={unit} {options}"


def call_helper(
    host: Host,
    kind: type[Answer],
    *argv: str,
    seconds: float = 180,
    idle: bool = False,
    stdin: str | None = None,
    unit: str = "",
    wait: bool = True,
) -> Answer | None:
    """The helper's answer as a value of the wire; None where it is not installed, or does not know the words yet.

    `kind`: the declared NamedTuple; the rest as of `helper_document`. Raises HostError where it refuses, or answers
    something else.
    """
    document = helper_document(host, *argv, seconds=seconds, idle=idle, stdin=stdin, unit=unit, wait=wait)
    return None if document is None else read_answer(host.name, kind, argv[0], document)


def read_answer(host: str, kind: type[Answer], command: str, document: object) -> Answer:
    """A document that a host's helper answered to `command`, as a value of the wire. Raises HostError where it is
    something else.
    """
    try:
        return from_json(kind, document)
    except WireError as error:
        raise HostError(HelperUnreadable(where=host, command=command, why=str(error))) from error


def helper_document(
    host: Host,
    *argv: str,
    seconds: float = 180,
    idle: bool = False,
    stdin: str | None = None,
    unit: str = "",
    wait: bool = True,
    on_failure: str = "",
) -> dict[str, object] | None:
    """The helper's answer as JSON; None where it is not installed, does not know the words yet, or answers no object.

    `idle`: what serves goes before it. `unit`: it runs in that unit, so a connection that breaks does not end it;
    without `wait` nobody waits for its answer, and `on_failure` is the unit that systemd starts where it is killed.
    Raises HostError with its sentence where it refuses.
    """
    arguments: dict[str, Any] = {"_sudo": bool(host.data.get("_sudo")), "_timeout": seconds}
    if host.data.get("_sudo_password"):
        arguments["_sudo_password"] = host.data.get("_sudo_password")
    if stdin is not None:
        arguments["_stdin"] = stdin
    quoted = [QuoteString(word) for word in argv]
    older = "|| test $? = 2"  # argparse's status for words that it does not know
    options = ["--wait --pipe"] if wait else []
    options += [f"--property=OnFailure={on_failure}"] if on_failure else []
    before = IDLE if idle else UNIT.format(unit=unit, options=" ".join(options)) if unit else ""
    command = StringCommand("if test -e", HELPER, "; then", before, RUN_HELPER, *quoted, older, "; fi")
    done, output = host.run_shell_command(command, **arguments)
    lines = output.stdout_lines
    if not done:
        why = (output.stderr_lines or ["it said nothing"])[-1]
        raise HostError(HelperRefused(where=host.name, command=argv[0], why=why))
    try:
        document = json.loads(lines[-1]) if lines else None
    except ValueError:
        return None
    return document if isinstance(document, dict) else None
