"""Reads an Ansible inventory with ansible-core's own classes: directories, INI, YAML, programs, vault, templates.

Trap (docs/design/pyinfra.md): from 2.19 on vault values are lazy and need a process-wide VaultSecretsContext;
`str()` of one decrypts it. So every value is turned into a plain one here, once, and what came out of a vault is kept
for masking. What nobody reads here is neither evaluated nor has to be opened. Importing ansible costs half a second:
only commands that read an inventory import this module.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from steelyard.errors import (
    HostVariablesClosed,
    InventoryEmpty,
    InventoryUnreadable,
    SteelyardError,
)

from .fleet import Fleet, FleetHost, Keys, ResolvedVariable
from .layers import require_layers
from .locate import locate
from .names import bare, others, under_bare_names
from .own_getaddrinfo import own_getaddrinfo
from .password import password_file
from .resolver import Resolver, Unresolved, VaultText, word
from .secrecy import masked_everywhere
from .sources import LONGEST, files_of, manager_of
from .syntax import of_config, of_ini, require_sound_sources, require_sound_variables
from .variables import is_read, sections
from .vault import causes_of, is_closed, is_encrypted_whole, of_vault, set_vault_secrets, vault_error, vault_secrets
from .vault import encrypt_value as encrypt_value

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


def read_ansible(path: Path, vault_password_file: Path | None = None) -> Fleet:
    """Return the fleet of an inventory file or directory, or of several in layers.

    What cannot be had of a host's variables is that host's error. Raises InventoryMissing, FileSyntaxWrong,
    InventoryUnreadable, InventoryEmpty, VaultPasswordMissing, VaultPasswordWrong.
    """
    layers = require_layers(path)
    _require_sound_config()
    with own_getaddrinfo():
        from ansible import constants
        from ansible.errors import AnsibleError
        from ansible.parsing.dataloader import DataLoader
        from ansible.plugins.loader import init_plugin_loader
        from ansible.plugins.vars import host_group_vars
        from ansible.utils.collection_loader import AnsibleCollectionConfig

        if AnsibleCollectionConfig.collection_finder is None:
            init_plugin_loader()  # else no plugin has its whole name, `ansible.builtin.constructed`, nor a collection
    # set on the module, not in the environment: ansible may have been imported before
    constants.HOST_PATTERN_MISMATCH = "ignore"
    constants.DEPRECATION_WARNINGS = False
    for known in (host_group_vars.CANONICAL_PATHS, host_group_vars.FOUND, host_group_vars.NAK):
        known.clear()  # what an earlier read of this process found on disk
    is_encrypted_whole.cache_clear()
    given = password_file(path, vault_password_file)
    loader = DataLoader()
    secrets = vault_secrets(path, given, loader)
    set_vault_secrets(loader, secrets)
    sources = [file for layer in layers for file in files_of(layer)]
    require_sound_sources(layers, sources, secrets)
    try:
        inventory = manager_of(loader, layers)
        require_sound_variables(layers, {*inventory.groups, *inventory.hosts}, secrets)
        read = _Reading(path, loader, inventory)
        hosts = read.hosts()
    except (AnsibleError, InventoryUnreadable) as error:
        if of_vault(error) or any(is_closed(layer, secrets) for layer in layers):
            raise vault_error(path, given) from error
        wrong = of_ini(layers, sources, loader)
        if wrong is not None:
            raise wrong from error
        if isinstance(error, InventoryUnreadable):
            raise
        why = " ".join(str(error).split())
        raise InventoryUnreadable(where=str(path), why=why[:LONGEST]) from error
    except RecursionError as error:
        raise InventoryUnreadable(where=str(path), why="a value holds itself, by a YAML alias") from error
    if not hosts:
        last = layers[-1]
        raise InventoryEmpty(where=str(path), file=str(last / "hosts.yml" if last.is_dir() else last))
    if read.closed and not (secrets and read.secrets):
        raise vault_error(path, given)
    return read.fleet(tuple(hosts))


class _Reading:
    """One reading of an inventory. `secrets` came out of a vault; `closed` counts what no password opened."""

    def __init__(self, path: Path, loader: Any, inventory: Any) -> None:
        from ansible.release import __version__
        from ansible.vars.hostvars import HostVars
        from ansible.vars.manager import VariableManager

        self.path, self.loader, self.inventory = path, loader, inventory
        major, minor, revision = (int(part) if part.isdecimal() else 0 for part in __version__.split(".")[:3])
        version = {"string": __version__, "full": __version__, "major": major, "minor": minor, "revision": revision}
        self.variables = VariableManager(loader=loader, inventory=inventory, version_info=version)
        HostVars(inventory=inventory, loader=loader, variable_manager=self.variables)  # makes `hostvars` known
        self.closed, self.may_change = 0, False
        self.secrets: list[VaultText] = []

    def hosts(self) -> list[FleetHost]:
        """Every host with its variables. Raises AnsibleError where a file is wrong, whoever reads it."""
        names = [host.name for host in self.inventory.get_hosts("all", ignore_limits=True)]
        return [self._host(self.inventory.get_host(name)) for name in names]

    def _host(self, host: Any) -> FleetHost:
        from ansible.errors import AnsibleError

        ordered = sorted(host.get_groups(), key=lambda group: (group.depth, group.name))
        groups = tuple(group.name for group in ordered)
        try:
            everything = self.variables.get_vars(host=host)
        except AnsibleError as error:
            if not of_vault(error) and not _forbidden(error):
                raise
            self.closed += of_vault(error)
            why = " ".join(str(getattr(error, "message", error)).split())[:300].rstrip(".")
            closed = HostVariablesClosed(where=str(self.path), host=host.name, why=why)
            return FleetHost(host.name, groups, {}, unresolved={"": closed})
        return self._resolved(FleetHost(host.name, groups, {}), everything)

    def _resolved(self, host: FleetHost, everything: dict[str, Any]) -> FleetHost:
        """The host with its variables: those that are read here as they are meant, the others as they are written."""
        resolver = self._resolver(host, everything)
        said = {word(name): value for name, value in everything.items() if name not in ADDED_BY_ANSIBLE}
        foreign, known = others(said), sections()
        written, variables = dict[str, Any](), dict[str, Any]()
        unresolved, to_resolve = dict[str, SteelyardError](), list[str]()
        for name, value in said.items():
            closed = resolver.closed
            written[name] = variables[name] = resolver.written(name, value)
            is_open = name in resolver.open_names or resolver.closed > closed
            if is_open and name not in foreign and is_read(name, known):
                to_resolve.append(name)
        as_written = frozenset(secret.keys for secret in resolver.secrets)
        for name in to_resolve:
            resolver.open_names.discard(name)
            try:
                variables[name] = resolver.resolved(name, said[name])
            except Unresolved as cannot:
                del variables[name]
                unresolved[name] = cannot.error
        named = under_bare_names(variables)
        hidden = frozenset(path for secret in resolver.secrets for path in (secret.keys, bare(secret.keys)))
        self._count(resolver)
        return FleetHost(
            host.name,
            host.groups,
            named,
            {} if named == written else written,
            frozenset(resolver.open_names - foreign),
            hidden,
            as_written,
            unresolved,
            {bare(keys): place for keys, place in resolver.origins.items()},
        )

    def _resolver(self, host: FleetHost, everything: dict[str, Any]) -> Resolver:
        def place(keys: Keys) -> str:
            return locate(self.path, host, keys)

        return Resolver(self.loader, everything, place)

    def _count(self, resolver: Resolver) -> None:
        self.secrets += resolver.secrets
        self.closed += resolver.closed
        self.may_change |= resolver.may_change

    def resolve(self, host: str, name: str) -> ResolvedVariable:
        """A variable that nobody reads here, evaluated all the same. Raises SteelyardError."""
        host_of_ansible = self.inventory.get_host(host)
        everything = self.variables.get_vars(host=host_of_ansible)
        resolver = self._resolver(
            FleetHost(host, tuple(group.name for group in host_of_ansible.get_groups()), {}), everything
        )
        try:
            value = resolver.resolved(name, everything[name])
        except Unresolved as cannot:
            raise cannot.error from cannot
        hidden = frozenset(secret.keys for secret in resolver.secrets)
        return ResolvedVariable(value, hidden, masked_everywhere((), resolver.secrets, self.inventory.hosts))

    def fleet(self, hosts: tuple[FleetHost, ...]) -> Fleet:
        """The fleet of these hosts, with its groups, its secrets, and Ansible's own matching of patterns."""
        by_name = self.inventory.groups
        groups = {name: tuple(member.name for member in group.get_hosts()) for name, group in by_name.items()}
        return Fleet(
            self.path,
            hosts,
            groups,
            masked_everywhere(hosts, self.secrets, [*groups, *(host.name for host in hosts)]),
            bool(self.secrets or self.closed),
            self.may_change,
            {name: tuple(host.name for host in group.hosts) for name, group in by_name.items()},
            {name: tuple(child.name for child in group.child_groups) for name, group in by_name.items()},
            match=self.match,
            resolve=self.resolve,
        )

    def match(self, pattern: str) -> list[str]:
        """Names of the hosts of a pattern; none where it is none."""
        from ansible.errors import AnsibleError

        try:
            self.inventory.subset(pattern)
            return [host.name for host in self.inventory.list_hosts("all")]
        except (AnsibleError, IndexError):  # the latter for nothing behind `&` or `!`
            return []
        finally:
            self.inventory.subset(None)


def _require_sound_config() -> None:
    """Raises FileSyntaxWrong where ansible.cfg cannot be read: ansible-core reads it when it is imported."""
    with own_getaddrinfo():
        try:
            from ansible import constants  # noqa: F401 - reads it
        except Exception as error:
            wrong = of_config(error)
            if wrong is not None:
                raise wrong from error
            raise


def _forbidden(error: BaseException | None) -> bool:
    """Whether a file is not this user's to read, at the bottom of it."""
    return any(isinstance(cause, PermissionError) for cause in causes_of(error))
