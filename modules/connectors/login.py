"""Logins of hosts: our host data, what a login costs, and why one failed, in the host's own words."""

from __future__ import annotations

import os
import re
import socket

import gevent
from paramiko import AuthenticationException, BadHostKeyException, SSHException
from paramiko.transport import Transport
from pyinfra.api.host import Host
from pyinfra.connectors.base import DataMeta
from pyinfra.connectors.ssh import ConnectorData, connector_data_meta

from steelyard.api.host_error import HostError
from steelyard.errors import (
    AddressUnknown,
    BecomeRefused,
    HostKeyChanged,
    HostUnreachable,
    LoginRefused,
    SteelyardError,
    SudoMissing,
    SudoNeedsTerminal,
    SudoPasswordWrong,
    SudoRefused,
)
from steelyard.inventory.ssh_arguments import SshOption, files_in

from .become import Become, ReadsData
from .client import Login, SteelyardClient
from .ssh_settings import SshSettings, settings_of

REFUSED = "the login was refused"


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
    if isinstance(transport.sock, socket.socket) and transport.sock.family != socket.AF_UNIX:
        transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, seconds * 1000)


def asked_of(name: str, data: ReadsData) -> tuple[str, tuple[SshOption, ...]]:
    """The address that ssh would be given for a host of this data, and the options before its files."""
    user, _, address = str(data.get("ssh_hostname") or name).rpartition("@")
    key = data.get("ssh_key")
    declared = [
        ("port", data.get("ssh_port")),
        ("user", data.get("ssh_user") or user),
        ("identityfile", os.path.expanduser(key) if key else None),  # noqa: PTH111  as Ansible does
        ("userknownhostsfile", data.get("ssh_known_hosts_file")),
        # what is not said is not asked for: ssh's files may say it
        ("stricthostkeychecking", data.get("ssh_strict_host_key_checking")),
    ]
    options = [SshOption(option, str(value)) for option, value in declared if value]
    return address, (*options, *(data.get("ssh_options") or ()))


def login_settings(host: Host, timeout_s: float) -> tuple[SshSettings, Login]:
    """Return what ssh would do for a host, and what the login is made with.

    Raises SshConfigUnreadable, ConnectionNotSupported, and what is wrong with the host's variables.
    """
    for problem in host.data.get("connection_problems") or ():
        raise problem
    address, options = asked_of(host.name, host.data)
    settings = settings_of(host.name, address, options, str(host.data.get("ssh_config_file") or ""))
    known = host.data.get("ssh_known_hosts_file")
    login = Login(
        where=host.name,
        password=host.data.get("ssh_password"),
        passphrase=host.data.get("ssh_key_password"),
        use_agent=host.data.get("ssh_allow_agent") is not False,
        timeout_s=timeout_s,
        extra_keys=tuple(option.value for option in options if option.name == "identityfile"),
        extra_known=tuple(files_in(str(known))) if known else (),
    )
    return settings, login


def connected(host: Host, timeout_s: float) -> tuple[SteelyardClient, str]:
    """A connection to the host, and the user that it is logged in as. Raises HostError."""
    try:
        settings, login = login_settings(host, timeout_s)
    except SteelyardError as error:
        raise HostError(error) from error
    retries = max(int(host.data.get("ssh_connect_retries") or 0), int(settings.one("connectionattempts") or 1) - 1)
    while True:
        client = SteelyardClient()
        try:
            client.open(settings, login)
            return client, settings.user
        except BaseException as error:
            client.close()
            if isinstance(error, SteelyardError):  # of a hop
                raise HostError(error) from error
            if not isinstance(error, SSHException | OSError | EOFError):
                raise
            problem = login_problem(error, settings, host.name)
            if isinstance(problem, HostUnreachable) and client.proxied is not None:
                problem.why = client.proxied.last_words() or problem.why
            if not retries or type(problem) is not HostUnreachable:
                raise HostError(problem) from error
        retries -= 1
        gevent.sleep(1)


def login_problem(error: BaseException, settings: SshSettings, host: str) -> SteelyardError:
    """Return the error that an exception of paramiko or of the socket means: another key, no login, or no way."""
    address = settings.hostname
    if isinstance(error, BadHostKeyException):
        known = (settings.known_hosts or ["no file"])[0]
        return HostKeyChanged(where=host, address=str(error.hostname), known_hosts=known)
    login = f"{settings.user}@{address}"
    # a server that has seen enough keys hangs up, and paramiko then misses its session
    if isinstance(error, AuthenticationException) or re.search(
        r"(?i)no existing session|no authentication", str(error)
    ):
        return LoginRefused(where=host, why=REFUSED, address=login)
    why = re.sub(r"^\[Errno (None|-?\d+)\] ", "", str(error)) or type(error).__name__
    if isinstance(error, socket.gaierror):
        return AddressUnknown(where=host, why=why, address=address)
    return HostUnreachable(where=host, why=why, address=login)


def password_wrong(host: str, user: str, become: Become) -> SteelyardError:
    """Return the error for a password that was asked for, given, and not taken."""
    if become.method == "sudo":
        return SudoPasswordWrong(where=host, user=user)
    return BecomeRefused(where=host, user=user, method=become.method, why="it did not take the password")


def become_problem(host: str, user: str, why: str, become: Become) -> SteelyardError:
    """Return the error for a way to another user that is refused, by its own words: each has another cure."""
    if become.method != "sudo":
        return BecomeRefused(where=host, user=user, method=become.method, why=become.words_of(why))
    if "must have a tty" in why:
        return SudoNeedsTerminal(where=host, user=user, why=why)
    if re.search(r"sudo: (command )?not found", why):
        return SudoMissing(where=host, user=user)
    return SudoRefused(where=host, user=user, why=why)
