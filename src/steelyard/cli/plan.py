"""`steelyard plan`: what apply would change, and why."""

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


def plan(
    inventory: InventoryPath = INVENTORY,
    limit: LimitTo = EVERYTHING,
    deploy: DeployName = SITE,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="FILE", help="Save the plan for `apply FILE`, and for people.")
    ] = None,
    vault_password_file: VaultPasswordFile = None,
    json: Json = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> Exit:
    """Show what apply would change: per host, each change with its reason and its diff. Changes nothing.

    Exit 0: in sync. 2: changes pending. 3: a host could not be planned. 1 and 4: nothing was looked at.
    """
    from steelyard.render.screen import Screen

    from .plan_file import save_plan
    from .work import Wanted, session

    screen = Screen(json=json, verbose=verbose, quiet=quiet, no_color=no_color)
    wanted = Wanted(inventory, limit, vault_password_file, deploy)
    with session(wanted, screen) as (_, opened):
        found = opened.look(keep=out is not None)
        if out is not None:
            save_plan(out, wanted, opened, found, screen)
    screen.plan(found)
    return found.exit
