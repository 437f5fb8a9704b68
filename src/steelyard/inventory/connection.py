"""Ansible's connection variables as pyinfra's, so that one inventory serves both tools."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from itertools import pairwise
from typing import Any

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
    for option, value in ssh_options(host):
        known = SSH_OPTIONS.get(option.lower())
        if known == "ssh_strict_host_key_checking":
            value = STRICTNESS.get(value.lower(), "yes")
        if known:
            found[known] = value
    return found


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
    """`-o Name=value` pairs of ansible_ssh_common_args and ansible_ssh_extra_args."""
    words = []
    for name in ("ansible_ssh_common_args", "ansible_ssh_extra_args"):
        words += shlex.split(str(host.variables.get(name) or ""))
    pairs = []
    for flag, option in pairwise(words):
        if flag == "-o" and "=" in option:
            name, value = option.split("=", 1)
            pairs.append((name, value))
    return pairs
