"""Whether declared versions fit the memory of the hosts that serve them: of hosts as they are, or as they might be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from steelyard.models.content.manifest import Manifest
from steelyard.models.fit.gpu_memory import GIB
from steelyard.models.fit.report import ServiceFit, service_fits
from steelyard.models.sources.declared import declared_footprints
from steelyard.modules.connectors.helper_call import call_helper, helper_document
from steelyard_host.wire.hardware import GpuDevice, HostMemory

if TYPE_CHECKING:
    from pyinfra.api.host import Host

    from steelyard.engine.session import Session
    from steelyard.models.fit.footprint import Footprint
    from steelyard.site.site import Service, Site


def fit_of_imagined_hosts(site: Site, names: tuple[str, ...], gpu_gib: float, gpus: int) -> list[ServiceFit]:
    """The services of these hosts, as if each had `gpus` GPUs of `gpu_gib` GiB. No host is asked."""
    device = GpuDevice(memory_bytes=int(gpu_gib * GIB), name=f"{gpu_gib:g} GiB GPU")
    memory = HostMemory((device,) * gpus, (), 0)
    return [
        row for name in names for row in service_fits(name, declared_footprints(site, site.services_on(name)), memory)
    ]


def fit_on_hosts(site: Site, session: Session) -> list[ServiceFit]:
    """The services of the session's hosts, by the memory that each host says it has; in the order of the inventory."""
    rows: dict[str, list[ServiceFit]] = {}
    footprints: dict[tuple[str, str], Footprint | None] = {}

    def measure(host: Host) -> None:
        services = site.services_on(host.name)
        memory = call_helper(host, HostMemory, "memory") if services else None
        if memory is None:
            return
        for service in services:
            _learn(site, service, host, footprints)
        known = [
            (service, footprints[service.model, service.version])
            for service in services
            if (service.model, service.version) in footprints
        ]
        rows[host.name] = service_fits(host.name, known, memory)

    session.each(measure, "measuring")
    return [row for name in session.names for row in rows.get(name, [])]


def _learn(site: Site, service: Service, host: Host, footprints: dict[tuple[str, str], Footprint | None]) -> None:
    """Note what a version needs, by its source on this machine, else by the manifest that the host has, if any."""
    key = service.model, service.version
    if key in footprints:
        return
    declared = declared_footprints(site, [service])
    if declared:
        footprints[key] = declared[0][1]
    elif (document := helper_document(host, "store-manifest", site.model_root, *key)) is not None:
        footprints[key] = Manifest.of_json(document).footprint
