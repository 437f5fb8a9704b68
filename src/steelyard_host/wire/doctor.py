"""The answer of `doctor` beside `GpuHealth`: services of the host that do not run."""

from __future__ import annotations

from typing import NamedTuple

from steelyard_host.wire.services import TroubledService


class TroubledServices(NamedTuple):
    """Every service of a host that does not run, or came back, with the reason; none from an older helper."""

    services: tuple[TroubledService, ...] = ()
