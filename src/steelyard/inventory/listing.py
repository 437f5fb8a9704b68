"""A fleet as `ansible-inventory --list` prints it: groups with their hosts and children, all variables with the hosts."""

from __future__ import annotations

from typing import Any

from .fleet import Fleet


def listing(fleet: Fleet) -> dict[str, Any]:
    """Ansible's JSON: `_meta.hostvars`, then one entry per group that holds something."""
    hostvars = {host.name: host.variables for host in fleet.hosts if host.variables}
    found: dict[str, Any] = {"_meta": {"hostvars": hostvars, "profile": "inventory_legacy"}}
    for name, members in fleet.direct.items():
        children = fleet.children.get(name, ())
        entry: dict[str, Any] = {}
        if members and name != "all":
            entry["hosts"] = list(members)
        if children:
            entry["children"] = list(children)
        if entry or name == "all":
            found[name] = entry
    return found
