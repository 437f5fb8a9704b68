"""Reads an Ansible inventory with ansible-core's own classes: directories, INI, YAML, dynamic sources, vault.

Trap (facts: pyinfra.md section 3): from 2.19 on vault values are lazy and need a process-wide VaultSecretsContext;
`str()` of one decrypts it. So every value is turned into a plain one here, once, and the decrypted ones are kept for
masking. Importing ansible costs half a second: only commands that read an inventory import this module.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

from steelyard.errors import (
    InventoryEmpty,
    InventoryMissing,
    InventoryUnreadable,
    VaultPasswordMissing,
    VaultPasswordWrong,
)

from .fleet import Fleet, FleetHost
from .password import password_file

NOT_SOURCES = ("drift-exceptions.yml",)  # files of ours that lie beside the sources
# Names that Ansible adds for its own run; an inventory does not say them.
ADDED_BY_ANSIBLE = frozenset(
    [
        "ansible_facts",
        "ansible_playbook_python",
        "ansible_version",
        "ansible_check_mode",
        "ansible_diff_mode",
        "ansible_config_file",
        "ansible_forks",
        "ansible_inventory_sources",
        "ansible_limit",
        "ansible_play_batch",
        "ansible_play_hosts",
        "ansible_play_hosts_all",
        "ansible_play_role_names",
        "ansible_role_names",
        "ansible_run_tags",
        "ansible_skip_tags",
        "ansible_verbosity",
        "group_names",
        "groups",
        "inventory_dir",
        "inventory_file",
        "inventory_hostname",
        "inventory_hostname_short",
        "omit",
        "playbook_dir",
        "play_hosts",
        "role_names",
        "environment",
        "hostvars",
        "ansible_dependent_role_names",
        "ansible_play_name",
    ]
)


@contextmanager
def _own_getaddrinfo() -> Iterator[None]:
    """While ansible is imported it probes socket.getaddrinfo with a wrong type; gevent's prints a traceback for that."""
    ours = socket.getaddrinfo
    if "gevent" in sys.modules:
        from gevent.monkey import get_original

        socket.getaddrinfo = get_original("socket", "getaddrinfo")
    try:
        yield
    finally:
        socket.getaddrinfo = ours


def read_ansible(path: Path, vault_password_file: Path | None = None) -> Fleet:
    """The fleet of an inventory file or directory.

    Raises InventoryMissing, InventoryUnreadable, InventoryEmpty, VaultPasswordMissing, VaultPasswordWrong.
    """
    if not path.exists():
        raise InventoryMissing(where=str(path))
    with _own_getaddrinfo():
        from ansible import constants
        from ansible.errors import AnsibleError
        from ansible.inventory.manager import IGNORED, InventoryManager
        from ansible.parsing.dataloader import DataLoader
        from ansible.parsing.vault import AnsibleVaultError
        from ansible.plugins.vars import host_group_vars
        from ansible.vars.manager import VariableManager

    # set on the module, not in the environment: ansible may have been imported before
    constants.INVENTORY_ANY_UNPARSED_IS_FAILED = True
    constants.HOST_PATTERN_MISMATCH = "ignore"
    constants.DEPRECATION_WARNINGS = False
    for known in (host_group_vars.CANONICAL_PATHS, host_group_vars.FOUND, host_group_vars.NAK):
        known.clear()  # what an earlier read of this process found on disk
    given = password_file(path, vault_password_file)
    secrets = _vault_secrets(path, given)
    decrypted: set[str] = set()
    try:
        loader = DataLoader()
        _set_vault_secrets(loader, secrets)
        with redirect_stderr(StringIO()) as warned:  # where reading fails, its warnings say what our error says
            inventory = InventoryManager(loader=loader, sources=_sources(path, IGNORED))
        print(warned.getvalue(), end="", file=sys.stderr)
        variables = VariableManager(loader=loader, inventory=inventory)
        names = [host.name for host in inventory.get_hosts("all", ignore_limits=True)]
        hosts = []
        for name in names:
            host = inventory.get_host(name)
            found = variables.get_vars(host=host, include_hostvars=False)
            plain = {key: _plain(value, decrypted) for key, value in found.items() if key not in ADDED_BY_ANSIBLE}
            ordered = sorted(host.get_groups(), key=lambda group: (group.depth, group.name))
            hosts.append(FleetHost(name, tuple(group.name for group in ordered), plain))
    except AnsibleVaultError as error:
        raise _vault_error(path, given) from error
    except AnsibleError as error:
        if "vault" in type(error.__cause__).__name__.lower() or isinstance(error.__cause__, AnsibleVaultError):
            raise _vault_error(path, given) from error
        why = " ".join(str(error).split())
        raise InventoryUnreadable(where=str(path), why=why[:400]) from error
    if not hosts:
        raise InventoryEmpty(where=str(path))
    groups = {group: tuple(member.name for member in found.get_hosts()) for group, found in inventory.groups.items()}

    direct = {name: tuple(host.name for host in found.hosts) for name, found in inventory.groups.items()}
    children = {name: tuple(child.name for child in found.child_groups) for name, found in inventory.groups.items()}

    def match(pattern: str) -> list[str]:
        try:
            inventory.subset(pattern)
            return [host.name for host in inventory.list_hosts("all")]
        except AnsibleError:
            return []
        finally:
            inventory.subset(None)

    return Fleet(path, tuple(hosts), groups, frozenset(decrypted), direct, children, match=match)


def _sources(path: Path, ignored: Any) -> list[str]:
    """What Ansible would read of a directory, less a pyinfra inventory: a Python file that is not a dynamic source."""
    if not path.is_dir():
        return [str(path)]
    found = []
    for entry in sorted(path.iterdir()):
        is_pyinfra = entry.suffix == ".py" and not os.access(entry, os.X_OK)
        if not ignored.search(os.fsencode(entry.name)) and not is_pyinfra and entry.name not in NOT_SOURCES:
            found.append(str(entry))
    return found


def _vault_error(path: Path, given: Path | None) -> VaultPasswordMissing | VaultPasswordWrong:
    if given is None:
        return VaultPasswordMissing(where=str(path))
    return VaultPasswordWrong(where=str(path), given=str(given))


def _vault_secrets(path: Path, given: Path | None) -> list[tuple[str, Any]]:
    if given is None:
        return []
    from ansible.parsing.vault import VaultSecret

    try:
        return [("default", VaultSecret(given.read_bytes().strip()))]
    except OSError as error:
        raise VaultPasswordWrong(where=str(path), given=f"{given} ({error.strerror})") from error


def _set_vault_secrets(loader: Any, secrets: list[tuple[str, Any]]) -> None:
    from ansible.parsing.vault import VaultSecretsContext

    known = VaultSecretsContext.current(optional=True)
    if known is None:
        VaultSecretsContext.initialize(VaultSecretsContext(secrets=secrets))
    else:  # a second inventory in one process: the context is process-wide and cannot be replaced
        known.secrets = secrets
    loader.set_vault_secrets(secrets)


def _plain(value: Any, decrypted: set[str]) -> Any:
    """Ansible's tagged and encrypted values as plain Python; each decrypted one is noted."""
    if type(value).__name__ == "EncryptedString":
        text = str(value)
        decrypted.add(text)
        return str.__str__(text) + ""
    if isinstance(value, dict):
        return {str(key): _plain(item, decrypted) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, decrypted) for item in value]
    if isinstance(value, bool) or value is None:
        return value
    for kind in (int, float):
        if isinstance(value, kind):
            return kind(value)
    return "".join(value) if isinstance(value, str) else value


def encrypt_value(text: str, password_file: Path) -> str:
    """The text as `ansible-vault encrypt_string` would give it: a header line and lines of digits."""
    from ansible.parsing.vault import VaultLib, VaultSecret

    secret = VaultSecret(password_file.read_bytes().strip())
    encrypted: bytes = VaultLib([("default", secret)]).encrypt(text.encode(), secret)
    return encrypted.decode()
