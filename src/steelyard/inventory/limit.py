"""The selection of hosts a command works on."""

from __future__ import annotations

from dataclasses import dataclass

from steelyard.errors import LimitMatchedNoHost, nearest_key

from .fleet import Fleet


@dataclass(frozen=True)
class Limit:
    """An Ansible host pattern, as given on the command line.

    | pattern       | means                                   |
    |---------------|-----------------------------------------|
    | `gpu`, `g-*`  | every host of the group; names alike    |
    | `gpu:&rack2`  | hosts that are in both                  |
    | `gpu:!gpu-3`  | the group without that host             |
    | `gpu[0]`      | the first host of the group             |
    | `@failed.txt` | one name a line, as a failed run wrote  |
    """

    pattern: str

    def select(self, fleet: Fleet, where: str = "--limit") -> tuple[str, ...]:
        """At least one host name, in inventory order. Raises LimitMatchedNoHost (a blank pattern matches nothing)."""
        matched = set(fleet.match(self.pattern)) if self.pattern.strip() else set()
        if not matched:
            named = sorted(name for name, hosts in fleet.groups.items() if hosts)
            names = [*named, *(host.name for host in fleet.hosts)]
            raise LimitMatchedNoHost(
                where=where,
                pattern=self.pattern,
                groups=", ".join(named) or "none",
                nearest=nearest_key(self.pattern.split(":")[0], names),
            )
        return tuple(host.name for host in fleet.hosts if host.name in matched)
