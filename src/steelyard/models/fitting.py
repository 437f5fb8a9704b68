"""Whether what is declared has room on the hosts that serve it: figures of versions against GPUs, or against a processor's memory. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from steelyard.gpus.placing import Need, NoPlace, place

from .room import GIB, Room, Wish, number, room, ways

if TYPE_CHECKING:
    from steelyard.site import Service

CPU_SPACE = "VLLM_CPU_KVCACHE_SPACE"  # the engine's variable, GiB
CPU_SPACE_GIB = 4  # its default
CPU_SHARE = 0.9  # of a host's memory that engines may take together


@dataclass(frozen=True)
class Fitting:
    """A service on its host. `needs` and `has` count GPUs, 0 on a host without; `why` says what numbers of `room` do not."""

    host: str
    service: str
    model: str
    version: str
    device: str
    needs: int
    has: int
    room: Room | None
    why: str | None = None
    ways: list[str] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        """`fits`, `tight`, `no` or `unknown`."""
        if self.room is None:
            return "unknown"
        return "no" if self.why else self.room.verdict

    @property
    def sentence(self) -> str:
        """Why not, or the sum, for people."""
        if self.why or self.room is None:
            return f"{self.model} {self.version}: {self.why or 'its files do not tell what it needs'}"
        found = self.room
        asked = f"{_gib(found.budget_bytes)} of {_gib(found.memory_bytes)} on each {self.device}"
        request = f" + {_gib(found.request_bytes)} for one request of {found.context:,} tokens" if found.request_bytes else ""
        return f"{self.model} {self.version}: {_gib(found.weights_bytes)} weights + about {_gib(found.working_bytes)} to work with{request}; it may take {asked}"


def _gib(count: int) -> str:
    return f"{count / GIB:.1f} GiB"


def fittings(host: str, services: Sequence[tuple[Service, dict[str, Any]]], memory: dict[str, Any]) -> list[Fitting]:
    """`services` with the figures of their versions; `memory` is what the helper answers to that word."""
    silent = [row for row in services if "weights_bytes" not in row[1]]  # published before figures were kept
    told = [row for row in services if row not in silent]
    unknown = [_unknown(host, service, None) for service, _ in silent]
    devices = [device for device in memory["devices"] if device.get("memory_bytes")]
    if not devices and any(entry["kind"] == "gpu" for entry in memory["pci"]):
        return [_unknown(host, service, "its GPUs do not answer yet") for service, _ in services]
    if devices:
        return unknown + _crowded([_on_gpus(host, service, figures, devices) for service, figures in told], told)
    rows = [_on_processor(host, service, figures, memory["memory_bytes"]) for service, figures in told]
    return unknown + _together(rows, {service.name for service, _ in told if service.lazy}, memory["memory_bytes"])


def _unknown(host: str, service: Service, why: str | None) -> Fitting:
    return Fitting(host, service.name, service.model, service.version, "-", 0, 0, None, why)


def _on_gpus(host: str, service: Service, figures: dict[str, Any], devices: list[dict[str, Any]]) -> Fitting:
    wish = Wish.of(service.serve)
    needs, has = wish.tensor * wish.pipeline, len(devices)
    memory, name = min((int(device["memory_bytes"]), str(device.get("name", "GPU"))) for device in devices)
    found = room(figures, wish, memory)
    heads = figures.get("heads")
    why = f"it asks for {needs} GPUs, and the host has {has}" if needs > has else None
    if why is None and heads and heads % wish.tensor:
        why = f"its {heads} heads do not divide over {wish.tensor} GPUs"
    said: list[str] = []
    if why:  # the number of GPUs is what is wrong, so that is what is suggested
        sizes = [size for size in range(1, has + 1) if not heads or heads % size == 0]
        fitting = (size for size in sizes if room(figures, replace(wish, pipeline=1, tensor=size), memory).verdict != "no")
        said = [f"tensor_parallel_size: {size}" for size in fitting]
    if not said and (why or found.verdict == "no"):
        said = ways(figures, replace(wish, pipeline=1, tensor=1 if why else wish.tensor), memory, has)
    return Fitting(host, service.name, service.model, service.version, name, needs, has, found, why, said)


def _crowded(rows: list[Fitting], services: Sequence[tuple[Service, dict[str, Any]]]) -> list[Fitting]:
    """All services of a host get GPUs by the rule that apply gives them out by."""
    if not rows or any(row.why for row in rows):
        return rows
    known = {service.name: service for service, _ in services}
    shares = {name: Wish.of(service.serve).utilization for name, service in known.items()}
    needs = [Need(row.service, row.needs, shares[row.service], lazy=known[row.service].lazy) for row in rows]
    try:
        place(needs, [str(number) for number in range(rows[0].has)], {})
    except NoPlace as error:
        less = ["a lower gpu_memory_utilization", "`hosts` that leaves this one out"]
        return [replace(row, why=f"the services of this host share its GPUs; {error}", ways=less) for row in rows]
    return rows


def _on_processor(host: str, service: Service, figures: dict[str, Any], memory_bytes: int) -> Fitting:
    """The engine takes weights, what it works with, and a space for the context that its environment says."""
    found = room(figures, Wish.of(service.serve), memory_bytes)
    if service.serve.engine == "vllm":
        space = int(number(service.serve.environment, CPU_SPACE, CPU_SPACE_GIB) * GIB)
    else:  # it takes what its context needs
        space = found.request_bytes or 0
    found = replace(found, budget_bytes=found.weights_bytes + found.working_bytes + space)
    short = [f"environment: {{{CPU_SPACE}: {-(-(found.request_bytes or 0) // GIB)}}}"] if found.verdict == "no" else []
    return Fitting(host, service.name, service.model, service.version, "processor", 0, 0, found, None, short)


def _together(rows: list[Fitting], by_turns: Collection[str], memory_bytes: int) -> list[Fitting]:
    """Of the lazy ones, `by_turns`, the largest counts: others rest where it has to run."""
    counted = {row.service: row.room.budget_bytes for row in rows if row.room is not None}
    asked = sum(size for name, size in counted.items() if name not in by_turns)
    asked += max((size for name, size in counted.items() if name in by_turns), default=0)
    if asked <= CPU_SHARE * memory_bytes:
        return rows
    why = f"the engines of this host need {_gib(asked)} of memory together, and may take {_gib(int(CPU_SHARE * memory_bytes))}"
    less = [f"a smaller {CPU_SPACE} in `environment`", "`hosts` that leaves this one out"]
    return [replace(row, why=why, ways=less) for row in rows]
