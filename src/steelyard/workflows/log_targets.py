"""Targets of `steelyard logs`: a name to the units that it means, host by host. Pure.

| TARGET            | means                                                                    |
|-------------------|--------------------------------------------------------------------------|
| an alias, a model | the engines of its services, a second one and a lazy one's proxy too     |
| a service         | the same of one name, wherever it runs                                   |
| a host            | everything of ours on it                                                 |
| `gateway`, `dify` | HAProxy and keepalived; Dify's own units, on the hosts of the group      |
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from steelyard.errors import TargetUnknown
from steelyard_host import paths

if TYPE_CHECKING:
    from steelyard.site.site import Service, Site

GATEWAY, DIFY = "gateway", "dify"
# kind of unit -> units, `%s` for a service; patterns of journalctl, which know units that are gone too
KINDS = {
    "engine": ("{unit}", "{second}", "steelyard-lazy@{name}.service"),
    "front": (paths.PROXY_UNIT,),
    "watch": ("steelyard-watch@{name}.service",),
    "undo": ("steelyard-undo-{name}.service", "steelyard-recover-{name}.service"),
    GATEWAY: ("haproxy.service", "keepalived.service"),
    DIFY: ("steelyard-dify*",),
    "mirror": ("steelyard-registry*", "apt-cacher-ng.service", "nginx.service"),
    "store": ("steelyard-hold@*",),
}
OF_SERVICES = ("engine", "watch", "undo")
OF_GROUPS = {GATEWAY: GATEWAY, DIFY: DIFY, "mirror": "mirror"}


def units_by_host(site: Site, targets: Sequence[str], kinds: Sequence[str] = ()) -> dict[str, tuple[str, ...]]:
    """Units of each host, in the order of the targets. `kinds`: only these; else what the target's table says.

    Raises TargetUnknown.
    """
    units: dict[str, list[str]] = {}
    for target in targets:
        for host, names in _of(site, target, kinds).items():
            known = units.setdefault(host, [])
            known += [name for name in names if name not in known]
    return {host: tuple(names) for host, names in units.items() if names}


def known_targets(site: Site) -> list[str]:
    """Every name that is a target."""
    services = site.services
    names = [*site.aliases(), *(service.name for service in services), *(service.model for service in services)]
    groups = [group for group in OF_GROUPS if site.groups.get(group)]
    return list(dict.fromkeys([*names, *site.addresses, *groups]))


def _of(site: Site, target: str, kinds: Sequence[str]) -> dict[str, list[str]]:
    services = [entry for entry in site.services if target in (entry.alias, entry.name, entry.model)]
    if services:
        units: dict[str, list[str]] = {}
        for service in services:
            units.setdefault(service.host, []).extend(_of_service(service, kinds or ("engine",)))
        return units
    if target in site.addresses:
        return {target: _of_host(site, target, kinds)}
    if target in OF_GROUPS and site.groups.get(target):
        return {host: list(_fixed(kinds or (OF_GROUPS[target],))) for host in site.groups[target]}
    known = known_targets(site)
    nearest = difflib.get_close_matches(target, known, n=3, cutoff=0.4) or known[:3]
    raise TargetUnknown(where="steelyard logs", target=target, nearest=", ".join(nearest) or "none")


def _of_service(service: Service, kinds: Sequence[str]) -> list[str]:
    second = service.unit.replace("@" + service.name, f"@{service.name}--surge")
    values = {"unit": service.unit, "second": second, "name": service.name}
    return [unit.format(**values) for kind in kinds for unit in KINDS[kind]]


def _of_host(site: Site, host: str, kinds: Sequence[str]) -> list[str]:
    units = [
        unit
        for service in site.services_on(host)
        for unit in _of_service(service, [kind for kind in OF_SERVICES if not kinds or kind in kinds])
    ]
    here = [kind for kind, group in OF_GROUPS.items() if host in site.groups.get(group, ())]
    rest = [*(["front"] if site.services_on(host) else []), "store", *here]
    return [*units, *_fixed([kind for kind in rest if not kinds or kind in kinds])]


def _fixed(kinds: Sequence[str]) -> list[str]:
    return [unit for kind in kinds for unit in KINDS[kind] if "{" not in unit]
