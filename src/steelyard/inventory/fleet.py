"""A fleet as plain values: hosts with their groups and variables, as one inventory gives them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from steelyard.errors import SteelyardError

# the first that is said holds: of two of Ansible's the later one, as in the documentation of its plugin
ADDRESS_NAMES = ("ansible_ssh_host", "ansible_host", "ssh_hostname")
MASK = "********"  # for a value out of a vault, however short
Values = dict[str, Any]  # variables by name, as YAML gives them
Keys = tuple[str | int, ...]  # lead from a variable's name to a value in it


@dataclass(frozen=True)
class FleetHost:
    """One host: its groups from the widest to the narrowest, its variables after Ansible's precedence.

    Variables that are read here are resolved; those that still hold a template are named in `templates`. `written` has
    all of them as the inventory says them, where that is not the same. `hidden` leads to what came out of a vault, and
    `hidden_as_written` to that of `written`. A variable of `unresolved` is not among the variables: it has an error
    instead, which is this host's own. `origins`: `FILE:LINE` of the variable that a template took a value from.
    """

    name: str
    groups: tuple[str, ...]
    variables: Values
    written: Values = field(default_factory=dict)
    templates: frozenset[str] = frozenset()
    hidden: frozenset[Keys] = frozenset()
    hidden_as_written: frozenset[Keys] = frozenset()
    unresolved: dict[str, SteelyardError] = field(default_factory=dict)
    origins: dict[Keys, str] = field(default_factory=dict)

    @property
    def error(self) -> SteelyardError | None:
        """The first of what could not be resolved; None where all was."""
        return next(iter(self.unresolved.values()), None)

    def hides(self, keys: Keys) -> bool:
        """Whether the value under these keys came out of a vault, or holds something that did, or lies in such."""
        return any(keys[: len(path)] == path or path[: len(keys)] == keys for path in self.hidden)

    @property
    def address(self) -> str:
        """The address that it is reached at; its name where that could not be resolved."""
        return str(next((self.variables[name] for name in ADDRESS_NAMES if self.variables.get(name)), self.name))


class ResolvedVariable(NamedTuple):
    """A variable that nobody reads here, evaluated. `hidden` leads to what came out of a vault; `secrets` are texts."""

    value: Any
    hidden: frozenset[Keys]
    secrets: frozenset[str]


def _as_written(host: str, name: str) -> ResolvedVariable:
    """The value of a variable of a fleet whose reader has no templates."""
    raise KeyError(f"{name} of {host}")


@dataclass(frozen=True)
class Fleet:
    """An inventory, read. `groups` hold all their hosts, `direct` only their own, `children` their subgroups.

    `secrets` are texts out of a vault, or made of such: for masking, never for showing. `is_vaulted`: some value came
    out of one, however short. `may_change`: a template asked for more than the inventory, so nothing is kept.
    """

    path: Path
    hosts: tuple[FleetHost, ...]
    groups: dict[str, tuple[str, ...]]
    secrets: frozenset[str] = frozenset()
    is_vaulted: bool = False
    may_change: bool = False
    direct: dict[str, tuple[str, ...]] = field(default_factory=dict)
    children: dict[str, tuple[str, ...]] = field(default_factory=dict)
    digest: str | None = field(default=None, compare=False)  # of all its files; None: they say only what it is now
    match: Callable[[str], list[str]] = field(default=lambda pattern: [], repr=False, compare=False)
    resolve: Callable[[str, str], ResolvedVariable] = field(default=_as_written, repr=False, compare=False)

    @cached_property
    def _by_name(self) -> dict[str, FleetHost]:
        return {host.name: host for host in self.hosts}

    def host(self, name: str) -> FleetHost:
        return self._by_name[name]

    def in_group(self, group: str) -> tuple[FleetHost, ...]:
        """Hosts of a group in inventory order; none where the group is empty or missing."""
        names = set(self.groups.get(group, ()))
        return tuple(host for host in self.hosts if host.name in names)
