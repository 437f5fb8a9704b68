"""`steelyard lock`: who changes the fleet now."""

from __future__ import annotations

from typing import Annotated

import typer

from steelyard.errors import Exit

from .options import INVENTORY, InventoryPath, Json, NoColor, VaultPasswordFile, Yes

app = typer.Typer(help="The fleet's locks: one apply at a time, and one rollout of each alias.", no_args_is_help=True)


@app.command()
def show(
    inventory: InventoryPath = INVENTORY,
    vault_password_file: VaultPasswordFile = None,
    json: Json = False,
    no_color: NoColor = False,
) -> Exit:
    """Show who holds a lock, from where, since when and for what."""
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
    alias: Annotated[
        str | None, typer.Argument(metavar="[ALIAS]", help="Only that of a rollout of this alias. [every lock]")
    ] = None,
    inventory: InventoryPath = INVENTORY,
    vault_password_file: VaultPasswordFile = None,
    yes: Yes = False,
    json: Json = False,
    no_color: NoColor = False,
) -> Exit:
    """Take locks away from runs that are gone. A run that still lives notices, and begins nothing further."""
    import sys

    from steelyard.errors import ConfirmationImpossible
    from steelyard.render.screen import Screen

    from .work import Wanted, keeper, read

    screen = Screen(json=json, no_color=no_color)
    wanted = Wanted(inventory, vault_password_file=vault_password_file, deploy=None)
    with keeper(wanted, read(wanted, screen), screen, alias) as kept:
        kept.connect()
        held = kept.show()
        if held and not yes:
            if not sys.stdin.isatty():
                raise ConfirmationImpossible(where="steelyard lock break", changes="1")
            screen.lock(held)
            if not screen.confirm("Take it away?" if len(held) == 1 else "Take them away?"):
                return Exit.USAGE
        screen.lock(kept.break_open(), "broken")
    return Exit.DONE
