"""`steelyard status`: what runs where, now."""

from __future__ import annotations

from steelyard.errors import Exit

from .options import EVERYTHING, INVENTORY, InventoryPath, Json, LimitTo, NoColor, Quiet, VaultPasswordFile, Verbose


def status(
    inventory: InventoryPath = INVENTORY,
    limit: LimitTo = EVERYTHING,
    vault_password_file: VaultPasswordFile = None,
    json: Json = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> Exit:
    """Show hosts, GPUs, services, versions and requests, from live state. One SSH exec per host.

    Exit 0: every host answered. 3: one did not.
    """
    from steelyard.render.screen import Screen

    from .work import Wanted, session

    screen = Screen(json=json, verbose=verbose, quiet=quiet, no_color=no_color)
    with session(Wanted(inventory, limit, vault_password_file, None), screen) as (fleet, opened):
        from steelyard.modules.facts.helper import HelperAnswer

        answers = opened.facts(HelperAnswer, words=("status",))
        errors = opened.errors
    screen.status(fleet, answers, errors)
    return Exit.HOST_FAILED if errors else Exit.DONE
