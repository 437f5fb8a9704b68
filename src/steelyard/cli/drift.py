"""`steelyard drift`: compares what runs with what is declared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from steelyard.errors import Exit

from .common import Run, command
from .options import WithGateway


@command(limit=True, deploy=True, vault_first=True, verbose=True)
def drift(
    run: Run,
    exceptions: Annotated[
        Path | None,
        typer.Option(
            "--exceptions", metavar="FILE", help="Accepted findings; the inventory's drift-exceptions.yml if not given."
        ),
    ] = None,
    report: Annotated[
        list[str] | None,
        typer.Option(
            "--report",
            metavar="FORMAT[:FILE]",
            help="github, gitlab, junit, markdown or sarif, to stdout or a file; repeatable.",
        ),
    ] = None,
    with_gateway: WithGateway = False,
) -> Exit:
    """Compare what runs with what is declared. Hosts, gateway and Dify, every finding with its fix; nothing is changed.

    Exit 0: no drift. 2: drift. 3: a host could not be looked at. 1 and 4: nothing was looked at.
    """
    from datetime import UTC, datetime

    from steelyard.drift.exceptions import FILE, read_exceptions
    from steelyard.drift.first_seen import FirstSeen
    from steelyard.drift.report import apply_exceptions
    from steelyard.engine.run_owner import now
    from steelyard.inventory.layers import last_layer, own_folder
    from steelyard.render.plan import show_drift
    from steelyard.render.reports.requested import open_reports
    from steelyard.workflows.drift_beside import findings_beside

    reports = open_reports(report or [])
    if reports.to_stdout:
        run.screen.hush()
    accepted = read_exceptions(exceptions or own_folder(run.inventory) / FILE)
    options = replace(run.options, checking=True, with_gateway=with_gateway)
    with run.session(options) as (fleet, session):
        plan = session.look()
    beside = findings_beside(options, fleet, plan, run.screen.event)
    looked_at = tuple(host.host for host in plan.hosts if host.error is None)
    findings = plan.findings(fix=f"steelyard apply -i {quote(str(run.inventory))} -l {{host}}")
    findings = sorted([*findings, *beside])
    dated = FirstSeen(run.inventory).dated(findings, now(), set(looked_at))
    silent = {host.host for host in plan.hosts if host.error is not None}
    result = apply_exceptions(dated, accepted, datetime.now(UTC).date(), silent)
    code = Exit.HOST_FAILED if plan.errors else Exit.CHANGES if result.findings else Exit.DONE
    reports.write(last_layer(run.inventory), result, looked_at, tuple(plan.errors), run.screen.said)
    if not reports.to_stdout:
        show_drift(run.screen, plan, result, code)
    return code
