"""A fleet as `ansible-inventory --list` prints it: groups with their hosts and children, all variables with the
hosts. Templates are shown as the inventory says them, as Ansible does there.
"""

from __future__ import annotations

from typing import Any

from .fleet import MASK, Fleet, FleetHost, Keys


def listing(fleet: Fleet, *, show_secrets: bool = False) -> dict[str, object]:
    """Return Ansible's JSON: `_meta.hostvars`, then one entry per group that holds something."""
    said = {host.name: _shown(host, show_secrets) for host in fleet.hosts}
    hostvars = {name: variables for name, variables in said.items() if variables}
    document: dict[str, object] = {"_meta": {"hostvars": hostvars, "profile": "inventory_legacy"}}
    for name, members in fleet.direct.items():
        children = fleet.children.get(name, ())
        entry: dict[str, object] = {}
        if members and name != "all":
            entry["hosts"] = list(members)
        if children:
            entry["children"] = list(children)
        if entry or name == "all":
            document[name] = entry
    return document


def masked(value: Any, keys: Keys, hidden: frozenset[Keys]) -> Any:
    """The value under these keys with a mask in place of each value out of a vault."""
    if isinstance(value, dict):
        return {key: masked(item, (*keys, key), hidden) for key, item in value.items()}
    if isinstance(value, list):
        return [masked(item, (*keys, number), hidden) for number, item in enumerate(value)]
    return MASK if keys in hidden else value


def _shown(host: FleetHost, show_secrets: bool) -> dict[str, Any]:
    said, hidden = (host.written, host.hidden_as_written) if host.written else (host.variables, host.hidden)
    if show_secrets or not hidden:
        return said
    return {name: masked(value, (name,), hidden) for name, value in said.items()}
