"""Services of a fleet as tables and lines: `status`, and what `status --watch` tells where there is no terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.table import Table

from .tables import made_table, started_in

if TYPE_CHECKING:
    from steelyard.site.observed import ServiceRow

DAY_S = 86400
WELL = ("active", "asleep")


def services_table(rows: Sequence[ServiceRow], now: datetime, asked: bool) -> Table | None:
    """One line a service, 100 columns at most for usual names; None where there is none.

    `asked`: whether any gateway answered; where none did, its view is unknown, which is not the same as down.
    """
    if not rows:
        return None
    named = any(row.alias != row.name for row in rows)
    columns = ["HOST", "ALIAS", *(["SERVICE"] if named else []), "PORT", "VERSION", "STATE", "SINCE", "GATEWAY"]
    table = made_table(*columns)
    for row in rows:
        port = str(row.declared.serve.port) if row.declared is not None else "-"
        cells = [row.host, row.alias or "-", *([row.name] if named else []), port, version(row), row.state]
        since = row.live.since if row.live is not None else ""
        table.add_row(*cells, age(since, now), gateway_view(row, asked))
    return table


def engines_table(rows: Sequence[ServiceRow]) -> Table | None:
    """One line an engine that runs: what it works on by its own count, restarts, and its last start."""
    live = [(row, row.live) for row in rows if row.live is not None]
    if not live:
        return None
    table = made_table("HOST", "SERVICE", "RUNNING", "WAITING", "DONE", "RESTARTS", "STARTED IN")
    for row, status in live:
        counts = [_count(status.requests, name) for name in ("num_requests_running", "num_requests_waiting")]
        done = _count(status.requests, "request_success_total")
        table.add_row(row.host, row.name, *counts, done, str(status.restarts), started_in(status.start))
    return table


def _count(requests: Mapping[str, float], name: str) -> str:
    return f"{requests[name]:.0f}" if name in requests else "-"


def is_amiss(row: ServiceRow, asked: bool) -> bool:
    """Whether a service is otherwise than it is declared: it does not serve, or another version, or on trial, or a
    gateway sends it nothing. `asked`: whether any gateway answered.
    """
    if row.live is None or row.declared is None:
        return True
    if row.state not in WELL or row.live.trial is not None or row.version not in (None, row.declared.version):
        return True
    return asked and any(not (view["status"] or "").startswith("UP") for view in row.gateways)


def version(row: ServiceRow) -> str:
    """The version that runs, and the declared one where that is another."""
    declared = row.declared.version if row.declared is not None else None
    if row.version is None:
        return "-" if declared is None else f"- ({declared} declared)"
    if row.declared is None:
        return f"{row.version} (not declared)"
    return row.version if row.version == declared else f"{row.version} ({declared} declared)"


def gateway_view(row: ServiceRow, asked: bool) -> str:
    """`UP 100, 3 running` where all gateways say the same; else each with its name."""
    if row.alias is None:
        return "-"
    if not asked:
        return "unknown"
    said = {view["gateway"]: (view["status"] or "not there", view["weight"]) for view in row.gateways}
    running = sum(view["running"] for view in row.gateways)
    texts = {name: status if weight is None else f"{status} {weight}" for name, (status, weight) in said.items()}
    one = next(iter(texts.values())) if len(set(texts.values())) == 1 else None
    view = one if one is not None else "; ".join(f"{name}: {text}" for name, text in texts.items())
    return f"{view}, {running} running" if running else view


def trial_lines(rows: Sequence[ServiceRow]) -> list[str]:
    """A line for each version on trial: what will become of it by itself, and whose run it is."""
    lines = []
    for row in rows:
        trial = row.live.trial if row.live is not None else None
        if trial is not None:
            ends = f"undone in {trial.left_s:.0f} s unless confirmed" if trial.left_s is not None else "no timer runs"
            tried = trial.folder.rsplit("/", 1)[-1]
            who = f" by {trial.by}" if trial.by else ""
            lines.append(f"{row.host}: {row.name}: {tried} on trial ({trial.state}), {ends}; run {trial.run}{who}")
    return lines


def age(since: str, now: datetime) -> str:
    """The time since systemd's `Mon 2026-11-30 16:00:00 UTC`; `-` where it is none."""
    try:
        began = datetime.strptime(" ".join(since.split()[1:3]), "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        return "-"
    seconds = max(0, int((now - began).total_seconds()))
    if seconds < 120:
        return f"{seconds} s"
    if seconds < 2 * 3600:
        return f"{seconds // 60} min"
    return f"{seconds // 3600} h" if seconds < 2 * DAY_S else f"{seconds // DAY_S} days"
