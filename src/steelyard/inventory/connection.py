"""Ansible's connection variables as pyinfra's, so that one inventory serves both tools."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from steelyard.cache import cache_folder, write_private

from .fleet import FleetHost

RENAMED = {
    "ansible_host": "ssh_hostname",
    "ansible_port": "ssh_port",
    "ansible_user": "ssh_user",
    "ansible_password": "ssh_password",
    "ansible_ssh_pass": "ssh_password",
    "ansible_ssh_private_key_file": "ssh_key",
    "ansible_become": "_sudo",
    "ansible_become_user": "_sudo_user",
    "ansible_become_password": "_sudo_password",
    "ansible_become_pass": "_sudo_password",
}
SSH_OPTIONS = {
    "userknownhostsfile": "ssh_known_hosts_file",
    "stricthostkeychecking": "ssh_strict_host_key_checking",
}
# what else of ssh's options reaches pyinfra, through a configuration file of ours
CONFIGURED = (
    "proxyjump", "proxycommand", "connecttimeout", "serveraliveinterval", "identityagent", "certificatefile", "forwardagent",
    "include",
)  # fmt: skip
FLAGS = {"-J": "ProxyJump", "-F": "Include"}
STRICTNESS = {"yes": "yes", "no": "off", "off": "off", "accept-new": "accept-new", "ask": "yes"}


def connection_data(host: FleetHost) -> dict[str, Any]:
    """pyinfra's names for how to reach the host. Host keys are checked strictly unless ssh options say otherwise."""
    found: dict[str, Any] = {"ssh_strict_host_key_checking": "yes", "ssh_hostname": host.address}
    for name, ours in RENAMED.items():
        value = host.variables.get(name)
        if value is not None and value != "":
            found[ours] = KINDS.get(ours, str)(value)
    if found.get("_sudo_user") == "root":
        del found["_sudo_user"]
    if "ssh_key" in found:
        found["ssh_allow_agent"] = False
    further: list[tuple[str, str]] = []
    for option, value in ssh_options(host):
        known = SSH_OPTIONS.get(option.lower())
        if known == "ssh_strict_host_key_checking":
            value = STRICTNESS.get(value.lower(), "yes")
        if known:
            found[known] = value
        elif option.lower() in CONFIGURED:
            further.append((option, value))
    if further:
        found["ssh_config_file"] = _config_file(config_text(found, further))
    return found


def config_text(data: dict[str, Any], options: list[tuple[str, str]]) -> str:
    """What pyinfra reads of ssh_config for one host: the user's own first, then the host's options, then its hops'.

    A hop is checked as strictly as the host, against the same known keys, and is offered the same key.
    """
    lines = [f"Include {value}" for option, value in options if option.lower() == "include"]
    lines += ["Include ~/.ssh/config", f"Host {data['ssh_hostname']}"]
    lines += [f"  {option} {value}" for option, value in options if option.lower() != "include"]
    hops = [hop for option, value in options if option.lower() == "proxyjump" for hop in value.split(",")]
    for hop in hops:
        lines.append(f"Host {hop.rsplit('@', 1)[-1].rsplit(':', 1)[0]}")
        lines.append(f"  StrictHostKeyChecking {data['ssh_strict_host_key_checking']}")
        for name, key in (("UserKnownHostsFile", "ssh_known_hosts_file"), ("IdentityFile", "ssh_key"), ("User", "ssh_user")):
            if key in data:
                lines.append(f"  {name} {data[key]}")
    return "\n".join(lines) + "\n"


def _config_file(text: str) -> str:
    path = cache_folder() / "ssh" / (hashlib.sha256(text.encode()).hexdigest()[:24] + ".conf")
    if not path.exists():
        write_private(path, text.encode())
    return str(path)


def is_true(value: Any) -> bool:
    """Ansible's booleans: an INI file gives them as text."""
    return value is True or str(value).strip().lower() in ("1", "true", "yes", "on", "y", "t")


KINDS: dict[str, Callable[[Any], Any]] = {"ssh_port": int, "_sudo": is_true}


def wrong_connection(host: FleetHost) -> list[tuple[str, str, str]]:
    """(variable, found, allowed) of what connection_data could not use; checked before it is called."""
    port = host.variables.get("ansible_port")
    if port in (None, "") or (str(port).isdigit() and 0 < int(port) < 65536):
        return []
    return [("ansible_port", repr(port), "a port, 1 to 65535")]


def ssh_options(host: FleetHost) -> list[tuple[str, str]]:
    """`-o Name=value` pairs, jump hosts and configuration files of ansible_ssh_common_args and ansible_ssh_extra_args."""
    words = []
    for name in ("ansible_ssh_common_args", "ansible_ssh_extra_args"):
        words += shlex.split(str(host.variables.get(name) or ""))
    pairs = []
    for flag, option in pairwise(words):
        if flag == "-o" and "=" in option:
            name, value = option.split("=", 1)
            pairs.append((name, value))
        elif flag in FLAGS:
            pairs.append((FLAGS[flag], option))
    return pairs
