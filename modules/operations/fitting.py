"""A version has room on the host that is to serve it, before it is brought there and before its engine is touched."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from pyinfra.api.command import StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from steelyard.models.fitting import fittings
from steelyard.modules.facts.helper import HelperAnswer
from steelyard.refusal import Refusal
from steelyard.site import Service
from steelyard.unknowns import declare_unknown


@operation()
def has_room(service: str, services: tuple[tuple[Service, dict[str, Any]], ...]) -> Generator[StringCommand, None, None]:
    """Changes nothing. `services` are all of the host, with the figures of their versions: they share its memory."""
    memory = host.get_fact(HelperAnswer, words=("memory",))
    if memory is None:
        declare_unknown(
            f"whether {service} has room", because="the helper does not answer yet", settled_by="the same task, during apply"
        )
        return
    name = str(host.data.host_name)
    found = next(row for row in fittings(name, services, memory) if row.service == service)
    if found.verdict == "no":
        would = f"; would have room: {'; '.join(found.ways)}" if found.ways else ""
        yield Refusal(f"{found.sentence}{would}. `fit: ignore` under `serve` starts it all the same")
        return
    host.noop(found.sentence)
