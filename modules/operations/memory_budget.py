"""Services of a host have room within the memory that is declared for them."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from pyinfra.api.command import StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from steelyard.api.change import Refusal
from steelyard.site.site import Service


def too_much(services: Sequence[Service], budget_gib: float) -> str | None:
    """Return why the services never have room: those that always run, and beside them the largest of those that run
    by turns. Pure.
    """
    always = {service.name: service.serve.memory_gib or 0 for service in services if not service.lazy}
    by_turns = {service.name: service.serve.memory_gib or 0 for service in services if service.lazy}
    largest = max(by_turns, key=lambda name: by_turns[name], default=None)
    needed = sum(always.values()) + (by_turns[largest] if largest else 0)
    if needed <= budget_gib:
        return None
    users = [f"{name} {size:g}" for name, size in always.items() if size]
    users += [f"{largest} {by_turns[largest]:g}, the largest of the lazy ones"] if largest and by_turns[largest] else []
    return (
        f"its services need {needed:g} GiB of memory ({'; '.join(users)}), and `vllm.memory_gib` is "
        f"{budget_gib:g}: serve some of them on another host, or lazily"
    )


@operation()
def within_memory_budget(services: tuple[Service, ...], budget_gib: float) -> Generator[StringCommand, None, None]:
    """Changes nothing. `services` are all of the host."""
    why = too_much(services, budget_gib)
    if why is not None:
        yield Refusal(why)
        return
    host.noop(f"the services have room in {budget_gib:g} GiB")
