"""paramiko's client as ssh would connect: hops, proxy commands, known keys, and the keys to offer.

A hop is reached as ssh reaches it: by its own name in ssh's files, as the user that they say. One thing more than ssh
does: a hop is also offered the keys that the inventory names for the host, and checked against the known_hosts that it
names, so that an inventory needs no file of ssh beside it.
"""

from __future__ import annotations

import base64
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paramiko import BadHostKeyException, PKey, SSHException
from paramiko.agent import Agent, AgentKey
from paramiko.channel import Channel
from paramiko.client import MissingHostKeyPolicy
from paramiko.client import SSHClient as ParamikoClient
from paramiko.transport import Transport
from pyinfra.connectors.ssh_util import _patch_paramiko_sk_key_support, load_key_with_certificate
from pyinfra.connectors.sshuserclient.client import SSHClient

from steelyard.api.host_error import HostError
from steelyard.errors import ConnectionNotSupported, FileNotWritten, HostKeyRevoked, HostKeyUnknown
from steelyard.inventory.known_hosts import KnownKeys, line_of
from steelyard.inventory.ssh_arguments import SshOption

from .proxy_command import ProxiedSocket
from .ssh_settings import SshSettings, hop_of, settings_of

MOST_HOPS = 8
LOGIN_S = 90.0  # a server that asks a slow DNS or directory about us
# of ssh's options on algorithms: the list of paramiko's transport
TABLES = {
    "ciphers": "_preferred_ciphers",
    "macs": "_preferred_macs",
    "kexalgorithms": "_preferred_kex",
    "hostkeyalgorithms": "_preferred_keys",
    "pubkeyacceptedalgorithms": "_preferred_pubkeys",
}


@dataclass(frozen=True)
class Login:
    """The secrets and files that a login is made with, beside what ssh's options say; the `extra` ones are for hops."""

    where: str  # the host of the inventory
    password: str | None = None
    passphrase: str | None = None
    use_agent: bool = True
    timeout_s: float = 15
    extra_keys: tuple[str, ...] = ()
    extra_known: tuple[str, ...] = ()


class SteelyardClient(SSHClient):
    """A connection to one host, with the connections to its hops."""

    def open(self, settings: SshSettings, login: Login, depth: int = 0) -> None:
        """Connect and log in. Raises what paramiko raises, and HostError where a known key forbids it."""
        _patch_paramiko_sk_key_support()
        self._hop: SteelyardClient | None = None
        self.proxied: ProxiedSocket | None = None
        self._login, self._settings = login, settings
        self._stranger = False  # let in by `StrictHostKeyChecking=no` although another key is recorded
        name = settings.one("hostkeyalias")
        port = 22 if name else settings.port
        self._known_name, self._known_port = name or settings.hostname, port
        files = [*settings.known_hosts, *login.extra_known]
        self._known_files = list(dict.fromkeys(os.path.expanduser(file) for file in files))  # noqa: PTH111
        self._known = KnownKeys(self._known_name, self._known_files, port)
        self._strictness = settings.strictness
        self._host_keys_filename = None
        self.set_missing_host_key_policy(_Policy())
        timeout = _timeout(settings, login)
        self._set_agent(settings, login)
        ParamikoClient.connect(
            self,
            settings.hostname,
            port=settings.port,
            username=settings.user,
            password=None if settings.is_off("passwordauthentication") else login.password,
            passphrase=login.passphrase,
            key_filename=[*_key_files(settings, login)],  # type: ignore[arg-type]
            pkey=_with_certificate(settings),
            allow_agent=self._agent is not None,
            look_for_keys=False,
            timeout=timeout,
            banner_timeout=max(timeout, 15),
            auth_timeout=LOGIN_S,
            sock=self._socket(settings, login, timeout, depth),
            transport_factory=self._transport_of,
        )

    def close(self) -> None:
        super().close()
        if self.proxied is not None:
            self.proxied.close()
        if self._hop is not None:
            self._hop.close()

    # Ways

    def _socket(self, settings: SshSettings, login: Login, timeout: float, depth: int) -> Any:
        """What the connection goes over; None for a socket of paramiko's own making."""
        if settings.proxy_command is not None:
            self.proxied = ProxiedSocket(settings.proxy_command)
            return self.proxied
        if settings.hops:
            return self._through(settings, login, timeout, depth)
        family = {"inet": socket.AF_INET, "inet6": socket.AF_INET6}.get(settings.one("addressfamily").lower(), 0)
        source = settings.one("bindaddress")
        if not family and not source:
            return None
        error: OSError | None = None
        for kind, _, _, _, address in socket.getaddrinfo(settings.hostname, settings.port, family, socket.SOCK_STREAM):
            try:
                made = socket.socket(kind, socket.SOCK_STREAM)
                made.settimeout(timeout)
                if source:
                    made.bind((source, 0))
                made.connect(address)
                return made
            except OSError as problem:
                error = problem
        raise error or OSError("no address")

    def _through(self, settings: SshSettings, login: Login, timeout: float, depth: int) -> Channel:
        """A channel through the last hop, which is reached through those before it."""
        if depth >= MOST_HOPS:
            raise SSHException(f"more than {MOST_HOPS} jump hosts, one behind another")
        *before, last = settings.hops
        address, options = hop_of(last)
        if before:
            options += (SshOption("proxyjump", ",".join(before)),)
        hop = settings_of(login.where, address, options, settings.config)
        self._hop = SteelyardClient()
        self._hop.open(hop, login, depth + 1)
        transport = self._hop.get_transport()
        assert transport is not None
        return transport.open_channel(
            "direct-tcpip", (settings.hostname, settings.port), ("127.0.0.1", 0), timeout=timeout
        )

    # Keys to offer

    def _set_agent(self, settings: SshSettings, login: Login) -> None:
        """The agent's keys, less those that `IdentitiesOnly` excludes; none where no agent is to be asked."""
        self._agent = None
        said = settings.one("identityagent")
        if not login.use_agent or said.lower() == "none" or settings.is_off("pubkeyauthentication"):
            return
        with _agent_socket(settings.expand(said) if said not in ("", "SSH_AUTH_SOCK") else None):
            self._agent = _Agent(settings)

    # Known keys

    def _transport_of(self, sock: Any, **arguments: Any) -> Transport:
        """A transport that asks for the kinds of key that are recorded first, as ssh does; and that believes only
        those.
        """
        transport = _CheckedTransport(sock, **arguments)
        transport.client = self
        for option, table in TABLES.items():
            if said := self._settings.one(option):
                setattr(transport, table, self._chosen(option, said, getattr(transport, table)))
        known = self._known.algorithms()
        every = transport.get_security_options().key_types
        # a key of another kind than the recorded ones would be a stranger's
        ordered = sorted(every, key=lambda kind: known.index(kind) if kind in known else len(known))
        transport.get_security_options().key_types = ordered
        return transport

    def _chosen(self, option: str, said: str, here: tuple[str, ...]) -> tuple[str, ...]:
        """The library's algorithms as an option of ssh puts them. Raises HostError where none is left."""
        names = said.lstrip("+-^").split(",")
        if said.startswith("-"):
            chosen = [name for name in here if name not in names]
        elif said.startswith(("+", "^")):
            chosen = [*(name for name in names if name in here), *(name for name in here if name not in names)]
        else:
            chosen = [name for name in names if name in here]
        if not chosen:
            why = f"the library has none of them, but {', '.join(here)}"
            where = self._login.where
            raise HostError(ConnectionNotSupported(where=where, key=option, value=f"`{said}`", why=why, host=where))
        return tuple(chosen)

    def _auth(self, username: str, password: str | None, *rest: Any) -> None:
        """A password is not told to a host that shows another key than the recorded one; ssh does the same."""
        super()._auth(username, None if self._stranger else password, *rest)  # type: ignore[misc]

    def check_key(self, key: PKey) -> None:
        """Let the login go on. Raises BadHostKeyException or HostError where the server's key is not one to believe."""
        where = self._login.where
        if self._known.is_revoked(key):
            raise HostError(HostKeyRevoked(where=where))
        if self._known.has(key):
            return
        if self._strictness == "off":
            self._stranger = bool(self._known)
            return
        if self._known:
            raise BadHostKeyException(self._known_name, key, next(iter(self._known.keys_by_kind.values()))[0])
        if self._strictness == "yes":
            first = self._known_files[0] if self._known_files else "no file"
            raise HostError(HostKeyUnknown(where=where, address=self._known_name, known_hosts=first))
        if not self._known_files:
            return
        path = Path(self._known_files[0])
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with path.open("a") as file:
                file.write(line_of(self._known_name, self._known_port, key))
        except OSError as error:
            raise HostError(FileNotWritten(where=str(path), why=error.strerror or str(error))) from error


class _CheckedTransport(Transport):
    """A transport whose host key is checked as soon as there is one, by us: before anything is offered."""

    client: SteelyardClient

    def start_client(self, event: Any = None, timeout: float | None = None) -> None:
        super().start_client(event, timeout)
        self.client.check_key(self.get_remote_server_key())


class _Policy(MissingHostKeyPolicy):
    """The key was checked by the transport; paramiko's own table of keys stays empty."""

    def missing_host_key(self, client: object, hostname: str, key: PKey) -> None: ...


class _Agent(Agent):
    """An agent's keys; with `IdentitiesOnly` those whose files are named."""

    def __init__(self, settings: SshSettings) -> None:
        super().__init__()
        if settings.one("identitiesonly").lower() in ("yes", "true"):
            named = {blob for file in settings.identity_files for blob in _public_blobs(file)}
            self.offered = tuple(key for key in super().get_keys() if key.asbytes() in named)
        else:
            self.offered = super().get_keys()

    def get_keys(self) -> tuple[AgentKey, ...]:
        return self.offered


def _public_blobs(file: str) -> Iterator[bytes]:
    for path in (file, f"{file}.pub"):
        with suppress(OSError, ValueError):
            kind, blob, *_ = Path(path).read_text().split()
            if kind.startswith(("ssh-", "ecdsa-", "sk-")):
                yield base64.b64decode(blob)


def _key_files(settings: SshSettings, login: Login) -> Iterator[str]:
    """Private keys that can be read; a public one names a key of the agent."""
    if settings.is_off("pubkeyauthentication") or not _allows(settings, "publickey"):
        return
    for file in dict.fromkeys([*settings.identity_files, *login.extra_keys]):
        path = os.path.expanduser(file)  # noqa: PTH111
        with suppress(OSError):
            if b"PRIVATE KEY" in Path(path).read_bytes()[:64]:
                yield path


def _allows(settings: SshSettings, method: str) -> bool:
    said = settings.one("preferredauthentications")
    return not said or method in said.split(",")


def _with_certificate(settings: SshSettings) -> PKey | None:
    """A key with a certificate whose name does not follow from the key's; paramiko finds the others."""
    for certificate in settings.values.get("certificatefile", ()):
        for file in settings.identity_files:
            with suppress(Exception):  # another key's certificate: the next may fit, and keys are offered without too
                return load_key_with_certificate(
                    file, certificate_filename=settings.expand(certificate), allow_prompt=False
                )
    return None


def _timeout(settings: SshSettings, login: Login) -> float:
    said = settings.one("connecttimeout")
    return float(said) if said.isdecimal() and int(said) else login.timeout_s


@contextmanager
def _agent_socket(path: str | None) -> Iterator[None]:
    """SSH_AUTH_SOCK as `IdentityAgent` says, while an agent is looked up: paramiko knows no other way to say it."""
    before = os.environ.get("SSH_AUTH_SOCK")
    if path is None:
        yield
        return
    os.environ["SSH_AUTH_SOCK"] = os.environ.get(path[1:], "") if path.startswith("$") else path
    try:
        yield
    finally:
        if before is None:
            del os.environ["SSH_AUTH_SOCK"]
        else:
            os.environ["SSH_AUTH_SOCK"] = before
