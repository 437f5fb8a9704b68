"""A service has GPUs of its own, by UUID, and its unit may open their device nodes."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from steelyard.api.change import Change, Effect, Reason, Refusal
from steelyard.api.unknown import declare_unknown
from steelyard.hardware.gpu_assignment import GpuRequest, NotAssignable, assign
from steelyard.modules.facts.helper import helper_fact
from steelyard.modules.facts.unit import Unit
from steelyard_host.wire.hardware import HostMemory

from .path import absent_commands, file_commands


@operation()
def gpus_available(service: str, needs: tuple[dict[str, object], ...]) -> Generator[StringCommand, None, None]:
    """Changes nothing: the host has the GPUs that `gpus_assigned` will give, before anything of the service is
    touched.
    """
    memory = helper_fact(host, HostMemory, "memory")
    if memory is not None and _uuids(memory):
        try:
            _places(memory, needs)
        except NotAssignable as error:
            yield Refusal(str(error))
            return
    host.noop(f"there are GPUs for {service}")


def _uuids(memory: HostMemory) -> list[str]:
    return [device.uuid for device in memory.devices if device.uuid]


def _places(memory: HostMemory, needs: tuple[dict[str, object], ...]) -> dict[str, tuple[str, ...]]:
    return assign([GpuRequest(**need) for need in needs], _uuids(memory), memory.held)  # type: ignore[arg-type]


@operation()
def gpus_assigned(
    service: str, unit: str, needs: tuple[dict[str, object], ...], path: str, template: str
) -> Generator[StringCommand, None, None]:
    """The drop-in at `path` names the service's GPUs; on a host without GPUs there is none. A running engine stops to
    get others.

    `needs` are `GpuRequest`s of all services of the host, as dictionaries; `template` has `{uuids}`.
    """
    memory = helper_fact(host, HostMemory, "memory")
    if memory is None:
        declare_unknown(
            f"the GPUs of {service}", because="the helper does not answer yet", settled_by="the same task, during apply"
        )
        return
    if not _uuids(memory):
        yield from _kept_or_absent(service, path, any(entry.kind == "gpu" for entry in memory.pci))
        return
    try:
        mine = _places(memory, needs)[service]
    except NotAssignable as error:
        yield Refusal(str(error))
        return
    yield from file_commands(path, template.replace("{uuids}", ",".join(mine)).encode())
    if memory.held.get(service, ()) != mine and host.get_fact(Unit, unit=unit, mount="").active == "active":
        name = QuoteString(unit)
        # the task that runs it starts it again
        what: Reason = {"subject": unit, "declared": f"on {', '.join(mine)}", "live": "on others"}
        yield Change("systemctl stop", name, **what, effect=Effect.RESTART, outage_s=None)


def _kept_or_absent(service: str, path: str, has_some: bool) -> Generator[StringCommand, None, None]:
    if has_some:  # their driver is not loaded yet: what is written stays
        declare_unknown(f"the GPUs of {service}", because="they do not answer yet", settled_by="the next plan")
        host.noop("its GPUs do not answer yet; what is written stays")
        return
    yield from absent_commands(path)
