"""A version has room on the host that is to serve it, before it is brought there and before its engine is touched."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra.api.command import StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from steelyard.api.change import Refusal
from steelyard.api.unknown import declare_unknown
from steelyard.models.fit.footprint import Footprint
from steelyard.models.fit.report import service_fits
from steelyard.modules.facts.helper import helper_fact
from steelyard.site.site import Service
from steelyard_host.wire.hardware import HostMemory


@operation()
def fits_gpu_memory(
    service: str, services: tuple[tuple[Service, Footprint | None], ...]
) -> Generator[StringCommand, None, None]:
    """Changes nothing. `services` are all of the host, with the footprints of their versions: they share its memory."""
    memory = helper_fact(host, HostMemory, "memory")
    if memory is None:
        declare_unknown(
            f"whether {service} has room",
            because="the helper does not answer yet",
            settled_by="the same task, during apply",
        )
        return
    name = str(host.data.host_name)
    fitting = next(row for row in service_fits(name, services, memory) if row.service == service)
    if fitting.verdict == "no":
        would = f"; would have room: {'; '.join(fitting.suggestions)}" if fitting.suggestions else ""
        yield Refusal(f"{fitting.sentence}{would}. `fit: ignore` under `serve` starts it all the same")
        return
    host.noop(fitting.sentence)
