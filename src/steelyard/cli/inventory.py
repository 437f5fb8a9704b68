"""`steelyard inventory`: what an inventory says, as we read it."""

from __future__ import annotations

import json as jsonlib
from typing import Annotated

import typer

from steelyard.errors import Exit

from .options import INVENTORY, InventoryPath, VaultPasswordFile


def inventory(
    path: InventoryPath = INVENTORY,
    listed: Annotated[bool, typer.Option("--list", help="Everything, as `ansible-inventory --list` gives it.")] = False,
    vault_password_file: VaultPasswordFile = None,
    show_secrets: Annotated[
        bool, typer.Option("--show-secrets", help="Vault values in the clear, as Ansible shows them.")
    ] = False,
) -> Exit:
    """Print hosts and groups; with `--list` all variables too, as JSON that `ansible-inventory --list` would print."""
    from steelyard.inventory.listing import listing
    from steelyard.inventory.read import read_fleet
    from steelyard.render.redaction import Redactor
    from steelyard.settings import declared_secrets

    fleet = read_fleet(path, vault_password_file)
    if listed:
        text = jsonlib.dumps(listing(fleet), indent=4, sort_keys=True, ensure_ascii=False)
    else:
        named = (
            (host.name, host.address, [name for name in host.groups if name not in ("all", "ungrouped")])
            for host in fleet.hosts
        )
        text = "\n".join(f"{name}  {address}  {', '.join(groups)}" for name, address, groups in named)
    secrets = fleet.secrets | declared_secrets(fleet)
    print(text if show_secrets else Redactor(secrets).mask(text))
    return Exit.DONE
