"""Hosts that were applied as parts of a site: noted by the controller, and on the first host that keeps the fleet's
lock, so that another controller knows too. A host that left the inventory can be named only by whoever remembers it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from steelyard.api.finding import Finding, Severity, Verdict
from steelyard.api.host_error import HostError
from steelyard.dirs import fleet_key, state_folder, write_private
from steelyard.inventory.connection import connection_data
from steelyard.inventory.fleet import Fleet, FleetHost
from steelyard.modules.connectors.helper_call import call_helper
from steelyard.site.left_host import CODE, left_host
from steelyard_host.wire.codec import WireError, from_json, to_json
from steelyard_host.wire.remains import Remains, RememberedHost

if TYPE_CHECKING:
    from pyinfra.api.host import Host

Remembered = dict[str, RememberedHost]


def remembered(inventory: Path) -> Remembered:
    """Hosts that this controller applied, by name; none where it never did."""
    hosts: Remembered = {}
    with suppress(OSError, ValueError, AttributeError, WireError):
        for name, entry in json.loads(_record(inventory).read_text()).items():
            hosts[str(name)] = from_json(RememberedHost, entry)
    return hosts


def remember(fleet: Fleet, names: Iterable[str], keeper: Host | None = None) -> None:
    """Note that hosts were applied now; on the host `keeper` too, where one is given that has a helper."""
    hosts = {name: _noted(fleet.host(name)) for name in names}
    if not hosts:
        return
    _write(fleet.path, {**remembered(fleet.path), **hosts})
    if keeper is not None:
        with suppress(HostError):  # the run is over: what it did is not undone by a record that is missing
            call_helper(keeper, Remains, "hosts-remember", stdin=json.dumps(to_json(hosts)))


def forget(inventory: Path, name: str) -> None:
    """Forget a host here."""
    _write(inventory, {other: entry for other, entry in remembered(inventory).items() if other != name})


def forget_on(keeper: Host, name: str) -> None:
    """Forget a host where the fleet keeps the record. Raises HostError."""
    call_helper(keeper, Remains, "hosts-remember", name, stdin="{}")


def _noted(host: FleetHost) -> RememberedHost:
    """How it is reached, and nothing that is secret."""
    data = connection_data(host)
    user = str(data["ssh_user"]) if "ssh_user" in data else None
    return RememberedHost(host.address, round(time.time()), user, int(data["ssh_port"]) if "ssh_port" in data else None)


def as_declared(name: str, entry: RememberedHost, like: FleetHost) -> FleetHost:
    """A remembered host as the inventory would give it. How to log in (keys, sudo) is taken from `like`, a host that is
    declared: whoever keeps a site logs in everywhere alike.
    """
    variables = {key: value for key, value in like.variables.items() if not key.endswith(("_host", "_port"))}
    variables |= {"ansible_host": entry.address}
    if entry.user is not None:
        variables["ansible_user"] = entry.user
    if entry.port is not None:
        variables["ansible_port"] = entry.port
    return FleetHost(name, ("all",), variables)


def undeclared_findings(fleet: Fleet, told: Iterable[str] = ()) -> list[Finding]:
    """A finding, filed under the first host, for each host that this controller remembers and the inventory names no
    more; `told` are subjects that others found.
    """
    declared, findings = {host.name for host in fleet.hosts}, []
    for name, entry in sorted(remembered(fleet.path).items()):
        left = left_host(name, entry.address, entry.last)
        if name not in declared and left.subject not in told:
            findings.append(Finding(fleet.hosts[0].name, CODE, *left, Verdict.BROKEN, Severity.WARNING))
    return findings


def _record(inventory: Path) -> Path:
    return state_folder() / "hosts" / f"{fleet_key(inventory)}.json"


def _write(inventory: Path, hosts: Remembered) -> None:
    with suppress(OSError):
        write_private(_record(inventory), json.dumps(to_json(hosts)).encode())
