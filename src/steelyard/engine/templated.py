"""Variables with templates that nobody here reads: evaluated when a deploy of one's own asks for them."""

from __future__ import annotations

from functools import partial
from typing import Any

from steelyard.events import Emit, SecretsKnown
from steelyard.inventory.fleet import Fleet, FleetHost

from .pyinfra_fast import Lazy


def when_asked(fleet: Fleet, host: FleetHost, emit: Emit) -> dict[str, Lazy[Any]]:
    """The variables by name; what is secret of one is told before it is used."""

    def resolved(name: str) -> Any:
        variable = fleet.resolve(host.name, name)
        if variable.secrets:
            emit(SecretsKnown(variable.secrets))
        return variable.value

    return {name: Lazy(partial(resolved, name)) for name in host.templates}
