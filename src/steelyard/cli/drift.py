"""`steelyard drift`: compares what runs with what is declared."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from steelyard.errors import Exit

from .options import (
    EVERYTHING,
    INVENTORY,
    SITE,
    DeployName,
    InventoryPath,
    Json,
    LimitTo,
    NoColor,
    Quiet,
    VaultPasswordFile,
    Verbose,
)


def drift(
    inventory: InventoryPath = INVENTORY,
    limit: LimitTo = EVERYTHING,
    deploy: DeployName = SITE,
    vault_password_file: VaultPasswordFile = None,
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
    json: Json = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> Exit:
    """Compare live hosts, gateway and Dify with what is declared; every finding with its fix. Changes nothing.

    Exit 0: no drift. 2: drift. 3: a host could not be looked at. 1 and 4: nothing was looked at.
    """
    from datetime import UTC, datetime

    from steelyard.drift.drifted import settle
    from steelyard.drift.exceptions import FILE, read_exceptions
    from steelyard.drift.seen import Seen
    from steelyard.origin import now
    from steelyard.render.screen import Screen

    from .reports import open_reports
    from .work import Wanted, session

    reports = open_reports(report or [])
    screen = Screen(json=json, verbose=verbose, quiet=quiet or reports.to_stdout, no_color=no_color)
    beside = inventory if inventory.is_dir() else inventory.parent
    accepted = read_exceptions(exceptions or beside / FILE)
    with session(Wanted(inventory, limit, vault_password_file, deploy, checking=True), screen) as (_, opened):
        plan = opened.look()
    looked_at = tuple(host.host for host in plan.hosts if host.error is None)
    found = Seen(inventory).dated(plan.findings(fix=f"steelyard apply -i {inventory} -l {{host}}"), now(), set(looked_at))
    drifted = settle(found, accepted, datetime.now(UTC).date())
    ended = Exit.HOST_FAILED if plan.errors else Exit.CHANGES if drifted.findings else Exit.DONE
    reports.write(inventory, drifted, looked_at, tuple(plan.errors), screen.redactor.mask)
    if not reports.to_stdout:
        screen.drift(plan, drifted, ended)
    return ended
