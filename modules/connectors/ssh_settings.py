"""The way in which ssh would reach a host, from the options of its inventory and from ssh's configuration files.

The files are never read here by rules of our own: where they say anything that concerns a connection, ssh itself is
asked (`ssh -G`, some five milliseconds, no connection), with every Match, Include and Host as it reads them. Where they
do not, as on most machines, the options alone decide and no program runs.
"""

from __future__ import annotations

import getpass
import glob
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from steelyard.errors import ConnectionNotSupported, SshConfigUnreadable
from steelyard.inventory.home_folders import at_both_homes, home_folder
from steelyard.inventory.ssh_arguments import STRICTNESS, SshOption, files_in, way_of
from steelyard.inventory.ssh_options import (
    HONOURED,
    IRRELEVANT,
    MANY,
    REFUSED,
    SSH_DECIDES,
    SYNONYMS,
    Treatment,
    treatment_of,
)

SYSTEM_CONFIG = "/etc/ssh/ssh_config"
KEY_NAMES = ("id_rsa", "id_ecdsa", "id_ed25519")
DEFAULTS = {
    "port": "22",
    "userknownhostsfile": "~/.ssh/known_hosts ~/.ssh/known_hosts2",
    "globalknownhostsfile": "/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2",
    "stricthostkeychecking": "ask",
}
STATEMENT = re.compile(r"^\s*([A-Za-z0-9]+)(?:\s*=\s*|\s+)(.*)$")
ALGORITHMS = ("ciphers", "macs", "kexalgorithms", "hostkeyalgorithms", "pubkeyacceptedalgorithms")
NO = ("no", "false")


@dataclass(frozen=True)
class SshSettings:
    """Options of one connection by their lower-case names, each with the values that hold."""

    host: str  # as it was asked for
    config: str  # the file of `-F`, or nothing
    values: dict[str, list[str]] = field(hash=False)

    def one(self, name: str) -> str:
        """The value of an option that has one; its default, or nothing."""
        return (self.values.get(name) or [DEFAULTS.get(name, "")])[0]

    def is_off(self, name: str) -> bool:
        return self.one(name).lower() in NO

    @property
    def hostname(self) -> str:
        said = self.one("hostname")
        return said.replace("%h", self.host).replace("%%", "%") if said else self.host

    @property
    def port(self) -> int:
        return int(self.one("port"))

    @property
    def user(self) -> str:
        return self.one("user") or getpass.getuser()

    @property
    def strictness(self) -> str:
        """`yes`, `accept-new` or `off`; there is nobody to ask."""
        said = STRICTNESS.get(self.one("stricthostkeychecking").lower(), "yes")
        return "yes" if said == "ask" else said

    @property
    def known_hosts(self) -> list[str]:
        """Files of known keys, the user's own first."""
        files = [*files_in(self.one("userknownhostsfile")), *files_in(self.one("globalknownhostsfile"))]
        return [path for file in files if file.lower() != "none" for path in at_both_homes(self.expand(file))]

    @property
    def identity_files(self) -> list[str]:
        """Files of keys to offer: those that are named, else those that have ssh's own names."""
        named = self.values.get("identityfile") or [f"~/.ssh/{name}" for name in KEY_NAMES]
        return [path for file in named if file.lower() != "none" for path in at_both_homes(self.expand(file))]

    @property
    def proxy_command(self) -> str | None:
        command = self.one("proxycommand")
        return None if command.lower() in ("", "none") else self.expand(command)

    @property
    def hops(self) -> list[str]:
        """Jump hosts, the nearest first."""
        jump = self.one("proxyjump")
        return [] if jump.lower() in ("", "none") else jump.split(",")

    def expand(self, text: str) -> str:
        """The text with ssh's own tokens and a leading `~` as what they stand for."""
        home = home_folder()
        tokens = {
            "%": "%",
            "d": home,
            "h": self.hostname,
            "i": str(os.getuid()),
            "k": self.one("hostkeyalias") or self.host,
            "L": socket.gethostname().partition(".")[0],
            "l": socket.gethostname(),
            "n": self.host,
            "p": self.one("port"),
            "r": self.user,
            "u": getpass.getuser(),
        }
        replaced = re.sub(r"%(.)", lambda token: tokens.get(token[1], token[0]), text)
        if replaced == "~" or replaced.startswith("~/"):
            return home + replaced[1:]
        return os.path.expanduser(replaced)  # noqa: PTH111  a command may begin with ~, and no user be of that name


def settings_of(where: str, host: str, options: tuple[SshOption, ...], config: str) -> SshSettings:
    """Return what ssh would do for `host` with these options, the first value of each. `where` is for what cannot be.

    Raises SshConfigUnreadable, ConnectionNotSupported.
    """
    way = way_of(options)
    straight = [option for option in options if option.name not in ("proxyjump", "proxycommand")]
    if way is not None:
        straight.append(way)
    elif any(option.name in ("proxyjump", "proxycommand") for option in options):
        straight.append(SshOption("proxyjump", "none"))
    files = [] if config == "none" else [config] if config else [f"{home_folder()}/.ssh/config", SYSTEM_CONFIG]
    if config not in ("", "none") and not os.access(config, os.R_OK):
        raise SshConfigUnreadable(where=where, why=f"`{config}` cannot be read")
    decides = any(option.name in SSH_DECIDES for option in straight)
    if decides or any(_speaks(file) for file in files):
        return SshSettings(host, config, _asked(where, host, tuple(straight), config))
    values: dict[str, list[str]] = {}
    for name, value, _ in straight:
        if name in MANY or name not in values:
            values.setdefault(name, []).append(value)
    return SshSettings(host, config, values)


def _speaks(path: str) -> bool:
    """Whether a configuration file says anything that a connection depends on."""
    return any(
        name not in IRRELEVANT or (name == "host" and value != "*")
        for name, value in _statements(path, 0)
        if name != "include"
    )


def _statements(path: str, depth: int) -> Iterator[tuple[str, str]]:
    """Keywords and values of a file and of those that it includes; a keyword that ssh does not know is one too."""
    try:
        lines = Path(path).read_text(errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        statement = STATEMENT.match(line)
        if statement is None or line.lstrip().startswith("#"):
            continue
        name = SYNONYMS.get(statement[1].lower(), statement[1].lower())
        yield name, statement[2].strip().strip('"')
        if name == "include" and depth < 16:
            for pattern in files_in(statement[2]):
                base = "/etc/ssh" if path.startswith("/etc/ssh/") else f"{home_folder()}/.ssh"
                named = pattern.replace("~", home_folder(), 1) if pattern.startswith("~/") else pattern
                for included in sorted(glob.glob(os.path.join(base, named))):  # noqa: PTH118, PTH207  as ssh joins them
                    yield from _statements(included, depth + 1)


def _asked(where: str, host: str, options: tuple[SshOption, ...], config: str) -> dict[str, list[str]]:
    """Return what ssh itself answers."""
    argv = [*(("-F", config) if config else ())]
    for name, value, _ in options:
        argv += ["-o", f"{name}={_quoted(name, value)}"]
    try:
        answer, usual = _ssh_answers((*argv, "--", host)), _ssh_answers(("-F", "none", "--", "localhost"))
    except ValueError as error:
        raise SshConfigUnreadable(where=where, why=str(error)) from None
    values: dict[str, list[str]] = {}
    for name, said in answer.items():
        # what nobody asked for is not held against the library
        if name in HONOURED and not (name in ALGORITHMS and said == usual.get(name)):
            values[name] = said
        if name in REFUSED and said != usual.get(name):
            for value in said:
                treatment, why = treatment_of(name, value)
                if treatment is Treatment.REFUSED:
                    key = config or f"{home_folder()}/.ssh/config"
                    raise ConnectionNotSupported(where=where, key=key, value=f"`{name} {value}`", why=why, host=where)
    return values


def _quoted(name: str, value: str) -> str:
    return f'"{value}"' if name in ("identityfile", "certificatefile", "identityagent", "user") else value


@lru_cache(maxsize=1024)
def _ssh_answers(argv: tuple[str, ...]) -> dict[str, list[str]]:
    program = shutil.which("ssh")
    if program is None:
        raise ValueError("ssh, which reads its own files, is not installed here")
    done = subprocess.run([program, "-G", *argv], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        last = done.stderr.strip().splitlines() or ["it said nothing"]
        raise ValueError(last[0])
    answer: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        name, _, value = line.partition(" ")
        answer.setdefault(name.lower(), []).append(value)
    return answer


def hop_of(hop: str) -> tuple[str, tuple[SshOption, ...]]:
    """The host of a hop, and the options that `user@host:port` says."""
    text = hop.removeprefix("ssh://")
    user, _, place = text.rpartition("@")
    address, port = place, ""
    if place.startswith("["):
        address, _, port = place[1:].partition("]")
        port = port.removeprefix(":")
    elif place.count(":") == 1:
        address, _, port = place.partition(":")
    said = [("user", user), ("port", port)]
    return address, tuple(SshOption(name, value) for name, value in said if value)
