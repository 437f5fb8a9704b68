"""`steelyard drift`: compares what runs with what is declared."""

from __future__ import annotations

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
    json: Json = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> Exit:
    """Compare live hosts, gateway and Dify with what is declared; every finding with its fix. Changes nothing.

    Exit 0: no drift. 2: drift. 3: a host could not be looked at. 1 and 4: nothing was looked at.
    """
    from steelyard.render.screen import Screen

    from .work import Wanted, session

    screen = Screen(json=json, verbose=verbose, quiet=quiet, no_color=no_color)
    with session(Wanted(inventory, limit, vault_password_file, deploy), screen) as (_, opened):
        opened.prepare()
        found = opened.plan()
    screen.drift(found, found.findings(fix=f"steelyard apply -i {inventory} -l {{host}}"))
    return found.exit
