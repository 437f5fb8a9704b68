"""A pyinfra inventory file as a fleet, and a fleet as pyinfra's inventory: both directions in one place."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from steelyard.errors import InventoryEmpty, InventoryMissing, InventoryUnreadable

from .connection import connection_data
from .fleet import Fleet, FleetHost


def read_pyinfra(path: Path) -> Fleet:
    """The fleet of a pyinfra inventory `.py`. Raises InventoryMissing, InventoryUnreadable, InventoryEmpty."""
    if not path.exists():
        raise InventoryMissing(where=str(path))
    from pyinfra.api.state import State
    from pyinfra.context import ctx_state
    from pyinfra_cli.inventory import make_inventory

    try:
        with ctx_state.use(State(check_for_changes=False)):
            inventory = make_inventory(str(path), cwd=str(path.parent))
    except Exception as error:  # the file is the user's own Python: whatever it raises is about that file
        raise InventoryUnreadable(where=str(path), why=f"{type(error).__name__}: {error}") from error
    hosts = []
    for host in inventory:
        variables = {**inventory.get_data(), **host.group_data, **host.host_data}
        name = host.name.removeprefix("@steelyard/")
        hosts.append(FleetHost(name, tuple(host.groups), variables))
    if not hosts:
        raise InventoryEmpty(where=str(path))
    groups = {group: tuple(member.name.removeprefix("@steelyard/") for member in members)
              for group, members in inventory.groups.items()}  # fmt: skip
    groups["all"] = tuple(host.name for host in hosts)

    def match(pattern: str) -> list[str]:
        return [host.name for host in hosts if fnmatch(host.name, pattern) or host.name in groups.get(pattern, ())]

    return Fleet(path, tuple(hosts), groups, direct=groups, match=match)


def pyinfra_groups(path: Path) -> dict[str, tuple[list[tuple[str, dict[str, Any]]], dict[str, Any]]]:
    """For an inventory.py: `globals().update(pyinfra_groups(Path(__file__).parent))` gives pyinfra the Ansible one."""
    from steelyard.site import site_of

    from .ansible import read_ansible

    fleet = read_ansible(path)
    site = site_of(fleet)
    hosts = {host.name: (f"@steelyard/{host.name}", {**host_data(host), "site": site}) for host in fleet.hosts}
    return {group.replace("-", "_"): ([hosts[name] for name in names], {}) for group, names in fleet.groups.items() if names}


def host_data(host: FleetHost) -> dict[str, Any]:
    """The variables of a host and what pyinfra's SSH needs, under pyinfra's names."""
    return {**host.variables, **connection_data(host), "host_name": host.name, "host_groups": host.groups}
