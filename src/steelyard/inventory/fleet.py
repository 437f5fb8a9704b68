"""A fleet as plain values: hosts with their groups and variables, as one inventory gives them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class FleetHost:
    """One host: its groups from the widest to the narrowest, its variables after Ansible's precedence."""

    name: str
    groups: tuple[str, ...]
    variables: dict[str, Any]

    @property
    def address(self) -> str:
        return str(self.variables.get("ansible_host") or self.variables.get("ssh_hostname") or self.name)


@dataclass(frozen=True)
class Fleet:
    """Everything an inventory says. `groups` hold all their hosts, `direct` only their own, `children` their subgroups.

    `secrets` are the decrypted vault values: for masking, never for showing.
    """

    path: Path
    hosts: tuple[FleetHost, ...]
    groups: dict[str, tuple[str, ...]]
    secrets: frozenset[str] = frozenset()
    direct: dict[str, tuple[str, ...]] = field(default_factory=dict)
    children: dict[str, tuple[str, ...]] = field(default_factory=dict)
    digest: str | None = field(default=None, compare=False)  # of all its files; None: they say only what it is now
    match: Callable[[str], list[str]] = field(default=lambda pattern: [], repr=False, compare=False)

    @cached_property
    def _by_name(self) -> dict[str, FleetHost]:
        return {host.name: host for host in self.hosts}

    def host(self, name: str) -> FleetHost:
        return self._by_name[name]

    def in_group(self, group: str) -> tuple[FleetHost, ...]:
        """Hosts of a group in inventory order; none where the group is empty or missing."""
        names = set(self.groups.get(group, ()))
        return tuple(host for host in self.hosts if host.name in names)
