"""Live check of a HAProxy that does not run, a front or a gateway: why, and what mends it before an apply can."""

from __future__ import annotations

from pyinfra.context import host

from steelyard.api import live_check
from steelyard.api.finding import thing
from steelyard.modules.facts.haproxy import ProxyEnd
from steelyard.modules.facts.unit import Unit
from steelyard.modules.operations.unit import RUNNING

SHOWN = 240  # characters of a cause


def check_proxy(code: str, unit: str, config: str) -> None:
    """Tell the cause where one is known; that the unit does not run is its task's own finding, and then a consequence.

    A configuration that is not as declared is the cause of a refusal: an apply writes it anew.
    """
    if not live_check.is_enabled() or host.get_fact(Unit, unit=unit, mount="").active in RUNNING:
        return
    death = host.get_fact(ProxyEnd, unit=unit, config=config)
    if death is not None:
        live_check.report(
            code,
            f"HAProxy of {unit}",
            "runs",
            death.why[:SHOWN],
            death.fix,
            depends_on=(thing(host.name, config),),
            explains=(thing(host.name, unit),),
        )
