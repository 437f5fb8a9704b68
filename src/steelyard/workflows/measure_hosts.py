"""Hosts measured against their declared floor: what one can tell alone, then the links between them in rounds."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from gevent.pool import Pool

from steelyard.api.host_error import HostError
from steelyard.api.settings import settings_from
from steelyard.events import Emit, Step
from steelyard.hardware.floor import Grade, Link, Measure, disk_measure, gpu_measures, hardware_measures, link_measures
from steelyard.hardware.link_schedule import Pair, rounds
from steelyard.modules.connectors.helper_call import call_helper
from steelyard.roles.preflight.settings import Settings as PreflightSettings
from steelyard_host.wire.hardware import DiskRate, GpuHealth, HostHardware, LinkRate, LinkServer

if TYPE_CHECKING:
    from pyinfra.api.host import Host

    from steelyard.engine.session import Session
    from steelyard.inventory.fleet import Fleet

AT_ONCE = 100  # links that are measured side by side
SERVE_S = 15  # that a host serves longer than its peer measures
NO_HELPER = "steelyard apply --deploy preflight installs the helper, fio and iperf3"


class HostMeasurements:
    """Measures of a session's hosts. Disks and links are under load for seconds."""

    def __init__(self, fleet: Fleet, session: Session, emit: Emit) -> None:
        self.fleet, self.session, self.emit = fleet, session, emit
        self.floors = {host.name: settings_from(PreflightSettings, host.variables) for host in fleet.hosts}
        self.measured: dict[str, list[Measure]] = {}
        self.linkable: dict[str, Host] = {}  # hosts that have the tools to measure a link

    def take(self, links: bool) -> dict[str, list[Measure]]:
        """The measures of every host that answers, by host in the order of the inventory; with `links` those too."""
        self.session.each(self._measure_alone, "measuring")
        if links and len(self.measured) > 1:
            self._measure_links()
        return {name: self.measured[name] for name in self.session.names if name in self.measured}

    def _measure_alone(self, host: Host) -> None:
        floor = self.floors[host.name]
        root = str(self.fleet.host(host.name).variables.get("model_root") or "/models")
        began = time.time()
        hardware = call_helper(host, HostHardware, "hardware", root, *floor.resolve)
        ended = time.time()
        if hardware is None:
            unknown = Measure("hardware", Grade.UNKNOWN, "the helper is not installed", "measured", NO_HELPER)
            self.measured[host.name] = [unknown]
            return
        clock_s = hardware.clock.now
        skew_s = max(began - clock_s, clock_s - ended, 0.0)
        health = call_helper(host, GpuHealth, "gpu-health")
        has_fio = hardware.tools.get("fio")
        disk = call_helper(host, DiskRate, "disk", root, str(floor.disk_s)) if has_fio else None
        gpus = gpu_measures(health.pci if health is not None else ())
        self.measured[host.name] = [*hardware_measures(hardware, floor, skew_s), *gpus, disk_measure(disk, floor)]
        if hardware.tools.get("iperf3") and hardware.tools.get("ping"):
            self.linkable[host.name] = host

    def _measure_links(self) -> None:
        """Every pair of hosts once, in rounds in which a host is in one pair at most."""
        for name in self.measured.keys() - self.linkable.keys() - self.session.errors.keys():
            link = _unmeasured("its peers", "iperf3 or ping is not installed")
            self.measured[name] += link_measures(link, self.floors[name])
        names = tuple(name for name in self.session.names if name in self.linkable)
        schedule = rounds(names, max((self.floors[name].rounds for name in names), default=1))
        for number, pairs in enumerate(schedule, start=1):
            self.emit(Step(f"links: round {number} of {len(schedule)}, {len(pairs)} pairs"))
            for _ in Pool(AT_ONCE).imap_unordered(self._measure_pair, pairs):
                pass

    def _measure_pair(self, pair: Pair) -> None:
        self.measured[pair[0]] += link_measures(self._link(*pair), self.floors[pair[0]])

    def _link(self, client: str, server: str) -> Link:
        """The link of one pair. A host that falls silent meanwhile makes its link unmeasured, and no other."""
        port, seconds = str(self.floors[client].port), self.floors[client].link_s
        try:
            ready = call_helper(self.linkable[server], LinkServer, "link-serve", port, str(seconds + SERVE_S))
            if ready is None or ready.error:
                return _unmeasured(server, str(ready.error) if ready else "its helper says nothing")
            address = self.fleet.host(server).address
            rate = call_helper(self.linkable[client], LinkRate, "link", address, port, str(seconds))
        except HostError as failed:
            return _unmeasured(server, str(failed.error))
        if rate is None:
            return _unmeasured(server, "the helper says nothing")
        return Link(server, rate.bits_per_s, rate.rtt_ms, rate.mtu_passes, rate.error)


def _unmeasured(peer: str, why: str) -> Link:
    return Link(peer, None, None, False, why)
