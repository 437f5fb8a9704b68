"""The way in which a command that no operation issues becomes root on its host: pyinfra's arguments from what the
inventory says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from pyinfra.api.host import Host


class SudoArguments(TypedDict, total=False):
    """The global arguments of pyinfra that concern sudo; the password is left out where none is declared."""

    _sudo: bool
    _sudo_password: str


def sudo_arguments(host: Host) -> SudoArguments:
    """Return the sudo arguments for `host.run_shell_command` and `host.get_fact`."""
    arguments = SudoArguments(_sudo=bool(host.data.get("_sudo")))
    password = host.data.get("_sudo_password")
    if password:
        arguments["_sudo_password"] = password
    return arguments
