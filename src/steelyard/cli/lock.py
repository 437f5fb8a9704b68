"""`steelyard lock`: who changes the fleet now."""

from __future__ import annotations

import typer

from steelyard.errors import Exit

from .options import INVENTORY, InventoryPath, Json, NoColor, VaultPasswordFile, Yes

app = typer.Typer(help="The fleet's lock: one apply or rollout at a time.", no_args_is_help=True)


@app.command()
def show(
    inventory: InventoryPath = INVENTORY,
    vault_password_file: VaultPasswordFile = None,
    json: Json = False,
    no_color: NoColor = False,
) -> Exit:
    """Show who holds the lock, from where, since when and for what."""
    from steelyard.render.screen import Screen

    from .work import Wanted, keeper, read

    screen = Screen(json=json, no_color=no_color)
    wanted = Wanted(inventory, vault_password_file=vault_password_file, deploy=None)
    with keeper(wanted, read(wanted, screen), screen) as kept:
        kept.connect()
        screen.lock(kept.show())
    return Exit.DONE


@app.command("break")
def break_open(
    inventory: InventoryPath = INVENTORY,
    vault_password_file: VaultPasswordFile = None,
    yes: Yes = False,
    json: Json = False,
    no_color: NoColor = False,
) -> Exit:
    """Take the lock away from a run that is gone. A run that still lives notices, and begins nothing further."""
    import sys

    from steelyard.errors import ConfirmationImpossible
    from steelyard.render.screen import Screen

    from .work import Wanted, keeper, read

    screen = Screen(json=json, no_color=no_color)
    wanted = Wanted(inventory, vault_password_file=vault_password_file, deploy=None)
    with keeper(wanted, read(wanted, screen), screen) as kept:
        kept.connect()
        held = kept.show()
        if held is not None and not yes:
            if not sys.stdin.isatty():
                raise ConfirmationImpossible(where="steelyard lock break", changes="1")
            screen.lock(held)
            if not screen.confirm("Take it away?"):
                return Exit.USAGE
        screen.lock(kept.break_open(), "broken")
    return Exit.DONE
