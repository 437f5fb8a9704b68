"""Results of `steelyard models fit`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .models import gib
from .tables import made_table

if TYPE_CHECKING:
    from steelyard.errors import SteelyardError
    from steelyard.models.fit.report import ServiceFit

    from .screen import Screen


def show_fittings(screen: Screen, rows: list[ServiceFit], errors: dict[str, SteelyardError]) -> None:
    """One line a service, per GPU; below it what does not fit, and what would."""
    if screen.json:
        document = {
            "services": [_document(row) for row in rows],
            "errors": [error.as_json() for error in errors.values()],
        }
        screen.document("models fit", document)
        return
    table = made_table(
        "HOST", "SERVICE", "VERSION", "ON", "WEIGHTS", "WORKING", "CONTEXT", "A REQUEST", "MAY TAKE", "AT ONCE", ""
    )
    for row in rows:
        on = f"{row.needs} of {row.has} × {row.device}" if row.has else row.device
        numbers = ["-"] * 6
        if row.memory_fit is not None:
            fit = row.memory_fit
            numbers = [
                gib(fit.weights_bytes),
                f"~{gib(fit.working_bytes)}",
                f"{fit.context:,}" if fit.context else "-",
                gib(fit.request_bytes) if fit.request_bytes is not None else "?",
                gib(fit.budget_bytes),
                f"{fit.at_once:.1f}" if fit.at_once is not None else "-",
            ]
        table.add_row(row.host, row.service, row.version, on, *numbers, row.verdict)
    screen.tables(table)
    for row in rows:
        if row.verdict in ("no", "unknown"):
            screen.out(f"{row.host}: {row.sentence}")
        for suggestion in row.suggestions:
            screen.out(f"  would have room: {suggestion}")
    screen.failures()


def _document(row: ServiceFit) -> dict[str, Any]:
    fit = row.memory_fit
    numbers = (
        {}
        if fit is None
        else {
            "context": fit.context,
            "memory_bytes": fit.memory_bytes,
            "budget_bytes": fit.budget_bytes,
            "weights_bytes": fit.weights_bytes,
            "working_bytes": fit.working_bytes,
            "token_bytes": fit.token_bytes,
            "request_bytes": fit.request_bytes,
            "at_once": None if fit.at_once is None else round(fit.at_once, 2),
        }
    )
    return {
        "host": row.host,
        "service": row.service,
        "model": row.model,
        "model_version": row.version,
        "device": row.device,
        "gpus_needed": row.needs,
        "gpus": row.has,
        "room": numbers or None,
        "verdict": row.verdict,
        "why": row.why,
        "ways": row.suggestions,
    }
