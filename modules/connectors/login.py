"""How hosts are logged in to: our host data, what a login costs, and why one failed, in the host's own words."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass

from paramiko import AuthenticationException, BadHostKeyException
from paramiko.transport import Transport
from pyinfra.connectors.base import DataMeta
from pyinfra.connectors.ssh import ConnectorData, connector_data_meta

from steelyard.errors import HostKeyChanged, HostKeyUnknown, HostUnreachable, SteelyardError


@dataclass
class Traffic:
    """What one host cost: counts of this run, shown by `-v` and held to budgets by tests."""

    connections: int = 0
    channels: int = 0
    round_trips: int = 0
    facts: int = 0
    remembered: int = 0
    commands: int = 0
    uploads: int = 0


class SteelyardConnectorData(ConnectorData):
    """pyinfra's SSH data and ours."""

    steelyard_timeout_s: int
    steelyard_command_timeout_s: int
    steelyard_link_timeout_s: int


DATA_META = {
    **connector_data_meta,
    "ssh_strict_host_key_checking": DataMeta("SSH strict host key checking", "yes"),
    "steelyard_timeout_s": DataMeta("Seconds facts may take before the host is given up on", 120),
    "steelyard_command_timeout_s": DataMeta("Seconds a command may take before the host ends it", 3600),
    "steelyard_link_timeout_s": DataMeta("Seconds without any packet before the link counts as cut", 60),
}


def tune(transport: Transport, seconds: int) -> None:
    """No Nagle; and a cut link is noticed: a keepalive that nobody acknowledges for `seconds` closes the socket."""
    transport.set_keepalive(max(1, seconds // 4))
    if isinstance(transport.sock, socket.socket):
        transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, seconds * 1000)


def login_problem(error: BaseException, host: str, user: str | None, address: str, known_hosts: str) -> SteelyardError:
    """What pyinfra's ConnectError means: another key, no key, or no way."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, BadHostKeyException):
        cause = cause.__cause__ or cause.__context__
    text = str(error.args[0] if error.args else error)
    if cause is not None or "Host key for" in text:
        return HostKeyChanged(where=host, address=address, known_hosts=known_hosts)
    if "StrictPolicy" in text:
        return HostKeyUnknown(where=host, address=address, known_hosts=known_hosts)
    return HostUnreachable(where=host, why=_why(error, text), address=f"{user}@{address}" if user else address)


def _why(error: BaseException, text: str) -> str:
    """The cause in the kernel's or the server's words, without pyinfra's wrapping."""
    cause = error.__cause__ or error.__context__
    if isinstance(cause, AuthenticationException) or text.startswith("Authentication error"):
        return "the login was refused"
    inner = re.search(r"\((.*)\)$", text)
    return inner.group(1) if inner else text
