"""`steelyard apply`: makes the hosts what is declared."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from steelyard.errors import ConfirmationImpossible, Exit

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
    Yes,
)

if TYPE_CHECKING:
    from steelyard.engine.converge import Converged, Pace
    from steelyard.engine.session import Session
    from steelyard.inventory.fleet import Fleet
    from steelyard.render.screen import Screen

    from .work import Wanted


def apply(
    plan: Annotated[
        Path | None, typer.Argument(metavar="[PLAN]", help="A plan saved by `plan -o`: exactly that, or nothing.")
    ] = None,
    inventory: InventoryPath = INVENTORY,
    limit: LimitTo = EVERYTHING,
    deploy: DeployName = SITE,
    vault_password_file: VaultPasswordFile = None,
    serial: Annotated[
        str | None, typer.Option("--serial", metavar="N|P%", help="Hosts per wave; the next begins when one is through.")
    ] = None,
    max_fail: Annotated[
        str | None,
        typer.Option("--max-fail", metavar="N|P%", help="Hosts that may fail; with --serial 0, else any number."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Only hosts that the last apply failed on or did not reach.")
    ] = False,
    yes: Yes = False,
    json: Json = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> Exit:
    """Make the hosts what is declared. Shows the plan and asks first; without a terminal, `--yes` is needed.

    Exit 0: done, or nothing to do. 3: a host was unreachable, a task failed, or the fleet is locked. 1 and 4: nothing
    was touched.
    """
    from steelyard.engine import patched  # noqa: F401  before the engine
    from steelyard.engine.converge import note_look
    from steelyard.origin import Origin
    from steelyard.render.screen import Screen

    from .plan_file import check_plan, read_saved
    from .work import Wanted, journal_of, session

    screen = Screen(json=json, verbose=verbose, quiet=quiet, no_color=no_color)
    pace = _pace(serial, max_fail)
    wanted = Wanted(inventory, limit, vault_password_file, deploy, resume=resume)
    saved = read_saved(plan) if plan is not None else None
    if saved is not None:
        given = Path(saved.inventory) if inventory == INVENTORY else inventory
        wanted = Wanted(given, saved.limit, vault_password_file, saved.deploy)
    with session(wanted, screen) as (fleet, opened):
        planned = opened.look(keep=True)
        if saved is not None and plan is not None:
            check_plan(plan, saved, wanted, opened, planned, screen)
        if not planned.pending:
            note_look(journal_of(wanted), Origin.here(f"apply {wanted.deploy}"), planned)
            ended = Exit.HOST_FAILED if planned.errors else Exit.DONE
            screen.applied(planned, ended)
            return ended
        if not yes and saved is None:
            if not sys.stdin.isatty():
                raise ConfirmationImpossible(where="steelyard apply", changes=str(planned.changes))
            screen.plan(planned)
            if not screen.confirm(f"Apply {planned.changes} changes?"):
                return Exit.USAGE
        done = _carry_out(wanted, fleet, opened, pace, screen)
    screen.applied(done.plan, done.exit, done.stopped)
    return done.exit


def _pace(serial: str | None, max_fail: str | None) -> Pace:
    """Waves stop at the first failure unless told otherwise: that is what waves are for."""
    from steelyard.engine.converge import Pace
    from steelyard.engine.waves import Share

    size = Share.parse(serial, "--serial", least=1) if serial is not None else None
    allowed = Share.parse(max_fail, "--max-fail") if max_fail is not None else Share(0) if size else None
    return Pace(size, allowed)


def _carry_out(wanted: Wanted, fleet: Fleet, opened: Session, pace: Pace, screen: Screen) -> Converged:
    from steelyard.engine.converge import converge
    from steelyard.origin import Origin

    from .work import journal_of, keeper

    origin = Origin.here(f"apply {wanted.deploy}")
    with keeper(wanted, fleet, screen) as kept:
        return converge(opened, kept, journal_of(wanted), pace, origin, screen.redactor.mask)
