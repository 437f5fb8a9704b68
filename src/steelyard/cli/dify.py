"""`steelyard dify`: what Dify has."""

from __future__ import annotations

import typer

from steelyard.errors import Exit

from .options import INVENTORY, InventoryPath, Json, NoColor, VaultPasswordFile

app = typer.Typer(help="Models registered in Dify.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Models registered in Dify."""


@app.command("ls")
def ls(
    inventory: InventoryPath = INVENTORY,
    vault_password_file: VaultPasswordFile = None,
    json: Json = False,
    no_color: NoColor = False,
) -> Exit:
    """List every model of the declared provider as Dify has it, whoever registered it. Reads only."""
    from steelyard.inventory.read import read_fleet
    from steelyard.render.redaction import Redactor
    from steelyard.render.screen import Screen
    from steelyard.roles.dify import connection
    from steelyard.settings import check_settings, declared_secrets

    screen = Screen(json=json, no_color=no_color)
    fleet = read_fleet(inventory, vault_password_file)
    screen.redactor = Redactor(fleet.secrets | declared_secrets(fleet))
    for error in check_settings(fleet):
        raise error
    client, provider = connection(fleet)
    screen.dify(client.where, provider, client.models(provider))
    return Exit.DONE
