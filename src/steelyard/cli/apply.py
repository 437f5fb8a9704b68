"""`steelyard apply`: makes the hosts what is declared."""

from __future__ import annotations

import sys

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


def apply(
    inventory: InventoryPath = INVENTORY,
    limit: LimitTo = EVERYTHING,
    deploy: DeployName = SITE,
    vault_password_file: VaultPasswordFile = None,
    yes: Yes = False,
    json: Json = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> Exit:
    """Make the hosts what is declared. Shows the plan and asks first; without a terminal, `--yes` is needed.

    Exit 0: done, or nothing to do. 3: a host was unreachable or a task failed. 1 and 4: nothing was touched.
    """
    from steelyard.render.screen import Screen

    from .work import Wanted, session

    screen = Screen(json=json, verbose=verbose, quiet=quiet, no_color=no_color)
    with session(Wanted(inventory, limit, vault_password_file, deploy), screen) as (_, opened):
        opened.prepare()
        planned = opened.plan()
        if planned.changes and not yes:
            if not sys.stdin.isatty():
                raise ConfirmationImpossible(where="steelyard apply", changes=str(planned.changes))
            screen.plan(planned)
            if not screen.confirm(f"Apply {planned.changes} changes?"):
                return Exit.USAGE
        done = opened.apply()
    screen.applied(done)
    return Exit.HOST_FAILED if done.errors else Exit.DONE
