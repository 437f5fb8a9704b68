"""Results of `steelyard bench load`: a table a host, and the choice that was kept there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from steelyard.models.load_strategy import CACHES, DEFAULT

from .tables import made_table

if TYPE_CHECKING:
    from steelyard.errors import SteelyardError
    from steelyard.models.load_strategy import Measured

    from .screen import Screen


def show_loads(
    screen: Screen, found: dict[tuple[str, str], Measured], failed: dict[str, str], errors: dict[str, SteelyardError]
) -> None:
    if screen.json:
        hosts = [_document(host, model, measured) for (host, model), measured in sorted(found.items())]
        unmeasured = [{"host": host, "why": why} for host, why in sorted(failed.items())]
        screen.document(
            "bench load",
            {"hosts": hosts, "failed": unmeasured, "errors": [error.as_json() for error in errors.values()]},
        )
        return
    for (host, model), measured in sorted(found.items()):
        head = measured.head
        screen.out(f"{host}: {model}, engine {head.engine}, {head.device}, {head.ranks} at once")
        table = made_table("STRATEGY", "COLD S", "/ DEFAULT", "WARM S", "/ DEFAULT", "")
        for strategy in head.strategies:
            cells = [text for cache in CACHES for text in _cells(measured, strategy, cache)]
            chosen = [cache for cache in CACHES if measured.winner(cache) == strategy]
            remarks = [f"chosen {' and '.join(chosen)}"] if chosen else []
            remarks += [measured.errors[strategy]] if strategy in measured.errors else []
            table.add_row(strategy, *cells, "; ".join(remarks))
        screen.tables(table)
        warm = measured.ratio(DEFAULT, "warm", (DEFAULT, "cold"))
        if warm is not None:
            screen.out(f"warm, the default takes {warm:.2f} of the time it takes cold")
    for host, why in sorted(failed.items()):
        screen.out(f"{host}: not measured: {why}")
    screen.failures()


def _cells(measured: Measured, strategy: str, cache: str) -> tuple[str, str]:
    seconds, ratio = measured.median(strategy, cache), measured.ratio(strategy, cache)
    return (f"{seconds:.2f}" if seconds is not None else "-", f"{ratio:.2f}" if ratio is not None else "-")


def _document(host: str, model: str, measured: Measured) -> dict[str, Any]:
    rows = [
        {
            "strategy": strategy,
            "cache": cache,
            "seconds": seconds,
            "median": measured.median(strategy, cache),
            "ratio": measured.ratio(strategy, cache),
        }
        for (strategy, cache), seconds in measured.samples.items()
    ]
    chosen = {cache: measured.winner(cache) for cache in CACHES}
    about = {"host": host, "model": model, **measured.head.measured_on}
    return {**about, "samples": rows, "chosen": chosen, "failed": measured.errors}
