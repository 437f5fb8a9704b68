"""The fit of declared services on the hosts that serve them: footprints against GPUs, or a processor's memory. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from steelyard.hardware.gpu_assignment import GpuRequest, NotAssignable, assign
from steelyard_host.wire.hardware import HostMemory

from .footprint import Footprint
from .gpu_memory import GIB, MemoryFit, ServingProfile, memory_fit, number, suggestions

if TYPE_CHECKING:
    from steelyard.site.site import Service

CPU_SPACE = "VLLM_CPU_KVCACHE_SPACE"  # the engine's variable, GiB
CPU_SPACE_GIB = 4  # its default
CPU_SHARE = 0.9  # of a host's memory that engines may take together


@dataclass(frozen=True)
class ServiceFit:
    """A service held against its host. `needs` and `has` count GPUs, 0 on a host without.

    `why` is the reason that `memory_fit` does not show: a wrong number of GPUs, or services that crowd each other out.
    """

    host: str
    service: str
    model: str
    version: str
    device: str
    needs: int
    has: int
    memory_fit: MemoryFit | None
    why: str | None = None
    suggestions: list[str] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        """`fits`, `tight`, `no` or `unknown`."""
        if self.memory_fit is None:
            return "unknown"
        return "no" if self.why else self.memory_fit.verdict

    @property
    def sentence(self) -> str:
        """The reason why not, or the sum, for people."""
        if self.why or self.memory_fit is None:
            return f"{self.model} {self.version}: {self.why or 'its files do not tell what it needs'}"
        fit = self.memory_fit
        asked = f"{_gib(fit.budget_bytes)} of {_gib(fit.memory_bytes)} on each {self.device}"
        request = f" + {_gib(fit.request_bytes)} for one request of {fit.context:,} tokens" if fit.request_bytes else ""
        return (
            f"{self.model} {self.version}: {_gib(fit.weights_bytes)} weights + about "
            f"{_gib(fit.working_bytes)} to work with{request}; it may take {asked}"
        )


def _gib(count: int) -> str:
    return f"{count / GIB:.1f} GiB"


def service_fits(
    host: str, services: Sequence[tuple[Service, Footprint | None]], memory: HostMemory
) -> list[ServiceFit]:
    """The fit of all `services` of a host, with the footprints of their versions; None: published without one."""
    known = [(service, footprint) for service, footprint in services if footprint is not None]
    unknown = [_unknown(host, service, None) for service, footprint in services if footprint is None]
    gpus = [(size, gpu.name or "GPU") for gpu in memory.devices if (size := gpu.memory_bytes)]
    if not gpus and any(entry.kind == "gpu" for entry in memory.pci):
        return [_unknown(host, service, "its GPUs do not answer yet") for service, _ in services]
    if gpus:
        fits = [_on_gpus(host, service, footprint, gpus) for service, footprint in known]
        return unknown + _crowded(fits, [service for service, _ in known])
    fits = [_on_processor(host, service, footprint, memory.memory_bytes) for service, footprint in known]
    return unknown + _together(fits, {service.name for service, _ in known if service.lazy}, memory.memory_bytes)


def _unknown(host: str, service: Service, why: str | None) -> ServiceFit:
    return ServiceFit(host, service.name, service.model, service.version, "-", 0, 0, None, why)


def _on_gpus(host: str, service: Service, footprint: Footprint, gpus: list[tuple[int, str]]) -> ServiceFit:
    """The fit on GPUs, each with its bytes and its name; the smallest one counts."""
    profile = ServingProfile.of(service.serve)
    needs, has = profile.tensor * profile.pipeline, len(gpus)
    memory, name = min(gpus)
    fit, heads = memory_fit(footprint, profile, memory), footprint.heads
    why = f"it asks for {needs} GPUs, and the host has {has}" if needs > has else None
    if why is None and heads and heads % profile.tensor:
        why = f"its {heads} heads do not divide over {profile.tensor} GPUs"
    suggested: list[str] = []
    if why:  # the number of GPUs is what is wrong, so that is what is suggested
        one_stage = replace(profile, pipeline=1)
        sizes = [size for size in range(1, has + 1) if not heads or heads % size == 0]
        fitting = (
            size for size in sizes if memory_fit(footprint, replace(one_stage, tensor=size), memory).verdict != "no"
        )
        suggested = [f"tensor_parallel_size: {size}" for size in fitting]
    if not suggested and (why or fit.verdict == "no"):
        smaller = replace(profile, pipeline=1, tensor=1 if why else profile.tensor)
        suggested = suggestions(footprint, smaller, memory, has)
    return ServiceFit(host, service.name, service.model, service.version, name, needs, has, fit, why, suggested)


def _crowded(rows: list[ServiceFit], services: Sequence[Service]) -> list[ServiceFit]:
    """All services of a host get GPUs by the rule that apply gives them out by."""
    if not rows or any(row.why for row in rows):
        return rows
    known = {service.name: service for service in services}
    shares = {name: ServingProfile.of(service.serve).utilization for name, service in known.items()}
    needs = [GpuRequest(row.service, row.needs, shares[row.service], lazy=known[row.service].lazy) for row in rows]
    try:
        assign(needs, [str(number) for number in range(rows[0].has)], {})
    except NotAssignable as error:
        less = ["a lower gpu_memory_utilization", "`hosts` that leaves this one out"]
        return [
            replace(row, why=f"the services of this host share its GPUs; {error}", suggestions=less) for row in rows
        ]
    return rows


def _on_processor(host: str, service: Service, footprint: Footprint, memory_bytes: int) -> ServiceFit:
    """The engine takes weights, what it works with, and a space for the context that its environment says."""
    fit = memory_fit(footprint, ServingProfile.of(service.serve), memory_bytes)
    if service.serve.engine == "vllm":
        space = int(number(service.serve.environment, CPU_SPACE, CPU_SPACE_GIB) * GIB)
    else:  # it takes what its context needs
        space = fit.request_bytes or 0
    fit = replace(fit, budget_bytes=fit.weights_bytes + fit.working_bytes + space)
    suggested = [f"environment: {{{CPU_SPACE}: {-(-(fit.request_bytes or 0) // GIB)}}}"] if fit.verdict == "no" else []
    return ServiceFit(host, service.name, service.model, service.version, "processor", 0, 0, fit, None, suggested)


def _together(rows: list[ServiceFit], by_turns: Collection[str], memory_bytes: int) -> list[ServiceFit]:
    """The fits of services that share the host's memory.

    Of the lazy ones, `by_turns`, the largest counts: others rest where it has to run.
    """
    counted = {row.service: row.memory_fit.budget_bytes for row in rows if row.memory_fit is not None}
    asked = sum(size for name, size in counted.items() if name not in by_turns)
    asked += max((size for name, size in counted.items() if name in by_turns), default=0)
    if asked <= CPU_SHARE * memory_bytes:
        return rows
    why = (
        f"the engines of this host need {_gib(asked)} of memory together, and may take "
        f"{_gib(int(CPU_SHARE * memory_bytes))}"
    )
    less = [f"a smaller {CPU_SPACE} in `environment`", "`hosts` that leaves this one out"]
    return [replace(row, why=why, suggestions=less) for row in rows]
