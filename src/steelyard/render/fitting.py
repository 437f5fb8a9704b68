"""What `steelyard models fit` says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .models import gib
from .tables import made_table

if TYPE_CHECKING:
    from steelyard.errors import SteelyardError
    from steelyard.models.fitting import Fitting

    from .screen import Screen


def show_fittings(screen: Screen, rows: list[Fitting], errors: dict[str, SteelyardError]) -> None:
    """One line a service, per GPU; below it what does not fit, and what would."""
    if screen.json:
        document = {"services": [_document(row) for row in rows], "errors": [error.as_json() for error in errors.values()]}
        screen.document("models fit", document)
        return
    table = made_table(
        "HOST", "SERVICE", "VERSION", "ON", "WEIGHTS", "WORKING", "CONTEXT", "A REQUEST", "MAY TAKE", "AT ONCE", ""
    )
    for row in rows:
        on = f"{row.needs} of {row.has} × {row.device}" if row.has else row.device
        numbers = ["-"] * 6
        if row.room is not None:
            found = row.room
            numbers = [
                gib(found.weights_bytes),
                f"~{gib(found.working_bytes)}",
                f"{found.context:,}" if found.context else "-",
                gib(found.request_bytes) if found.request_bytes is not None else "?",
                gib(found.budget_bytes),
                f"{found.at_once:.1f}" if found.at_once is not None else "-",
            ]
        table.add_row(row.host, row.service, row.version, on, *numbers, row.verdict)
    screen.tables(table)
    for row in rows:
        if row.verdict in ("no", "unknown"):
            screen.out(f"{row.host}: {row.sentence}")
        for way in row.ways:
            screen.out(f"  would have room: {way}")
    screen.failures()


def _document(row: Fitting) -> dict[str, Any]:
    found = row.room
    numbers = {} if found is None else {
        "context": found.context, "memory_bytes": found.memory_bytes, "budget_bytes": found.budget_bytes,
        "weights_bytes": found.weights_bytes, "working_bytes": found.working_bytes, "token_bytes": found.token_bytes,
        "request_bytes": found.request_bytes, "at_once": None if found.at_once is None else round(found.at_once, 2),
    }  # fmt: skip
    return {
        "host": row.host, "service": row.service, "model": row.model, "model_version": row.version, "device": row.device,
        "gpus_needed": row.needs, "gpus": row.has, "room": numbers or None, "verdict": row.verdict, "why": row.why, "ways": row.ways,
    }  # fmt: skip
