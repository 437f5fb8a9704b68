"""`steelyard doctor`: what the controller lacks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from steelyard.errors import Exit

from .options import Json, NoColor, VaultPasswordFile


def doctor(
    inventory: Annotated[
        Path | None, typer.Option("-i", "--inventory", metavar="DIR", help="Check this inventory too.")
    ] = None,
    vault_password_file: VaultPasswordFile = None,
    json: Json = False,
    no_color: NoColor = False,
) -> Exit:
    """Check this machine: Python, libraries, keys, the lab's needs, and an inventory. Every finding has its fix.

    Exit 0: all well. 2: findings. Hosts are not touched.
    """
    from steelyard.checkup import check_controller
    from steelyard.render.screen import Screen

    findings = check_controller(inventory, vault_password_file)
    Screen(json=json, no_color=no_color).findings("doctor", findings, "this machine is ready")
    return Exit.CHANGES if findings else Exit.DONE
