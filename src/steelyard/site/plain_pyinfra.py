"""A site for plain pyinfra: its Ansible inventory as groups that an `inventory.py` gives pyinfra's own command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from steelyard.inventory.ansible import read_ansible
from steelyard.inventory.connection import host_data
from steelyard.site.resolve import site_of

HostData = dict[str, Any]  # variables under the names that pyinfra and roles know
Group = tuple[list[tuple[str, HostData]], HostData]  # hosts by name with their data, and the data of the group


def pyinfra_groups(path: Path) -> dict[str, Group]:
    """The groups of a site's inventory, for an `inventory.py` of pyinfra's own command. Raises what could not be
    resolved of a host, because that command has no errors of single hosts here.

    `globals().update(pyinfra_groups(Path(__file__).parent))` in it gives pyinfra the Ansible inventory.
    """
    fleet = read_ansible(path)
    for host in fleet.hosts:
        if host.error is not None:
            raise host.error
    site = site_of(fleet)
    hosts = {host.name: (f"@steelyard/{host.name}", {**host_data(fleet, host), "site": site}) for host in fleet.hosts}
    return {
        group.replace("-", "_"): ([hosts[name] for name in names], {}) for group, names in fleet.groups.items() if names
    }
