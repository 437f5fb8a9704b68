"""One HTML page of a preflight, with bars: no script, no file beside it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from steelyard.errors.visible import one_line
from steelyard.hardware.floor import worst

if TYPE_CHECKING:
    from steelyard.hardware.floor import Measure

TEMPLATE = Path(__file__).parent / "preflight.html.j2"


def page(measured: dict[str, list[Measure]], errors: dict[str, str]) -> str:
    """The page; names and values are escaped, and what would be invisible in them is seen."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        undefined=StrictUndefined, autoescape=True, trim_blocks=True, lstrip_blocks=True, finalize=_seen
    )
    hosts = [(name, str(worst(measures)), measures) for name, measures in measured.items()]
    return environment.from_string(TEMPLATE.read_text()).render(hosts=hosts, errors=errors, bar=bar)


def _seen(value: object) -> object:
    return one_line(value) if isinstance(value, str) else value


def bar(measure: Measure) -> int | None:
    """Width in percent: the recommended value fills half; None where there is no number."""
    if measure.value is None or not measure.wanted:
        return None
    share = measure.value / measure.wanted
    return round(min(share / 2, 1) * 100)
