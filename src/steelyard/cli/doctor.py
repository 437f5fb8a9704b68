"""`steelyard doctor`: what the controller lacks."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from steelyard.errors import ConfirmationImpossible, Exit, UsageWrong

from .options import Json, NoColor, VaultPasswordFile, Yes

if TYPE_CHECKING:
    from steelyard.render.screen import Screen


def doctor(
    inventory: Annotated[
        Path | None, typer.Option("-i", "--inventory", metavar="DIR", help="Check this inventory too.")
    ] = None,
    vault_password_file: VaultPasswordFile = None,
    record_keys: Annotated[
        bool,
        typer.Option("--record-keys", help="Fetch the inventory's missing host keys, show them, and record them if you agree."),
    ] = False,
    yes: Yes = False,
    json: Json = False,
    no_color: NoColor = False,
) -> Exit:
    """Check this machine: Python, libraries, keys, the lab's needs, and an inventory. Every finding has its fix.

    Exit 0: all well. 2: findings. Nothing is sent to a host; with `--record-keys` it is asked for its key.
    """
    from steelyard.checkup import check_controller
    from steelyard.render.screen import Screen

    screen = Screen(json=json, no_color=no_color)
    if record_keys:
        if inventory is None:
            raise UsageWrong(where="steelyard doctor", why="--record-keys needs an inventory (-i)")
        _record(inventory, vault_password_file, yes, screen)
    findings = check_controller(inventory, vault_password_file)
    screen.findings("doctor", findings, "this machine is ready")
    return Exit.CHANGES if findings else Exit.DONE


def _record(inventory: Path, vault_password_file: Path | None, yes: bool, screen: Screen) -> None:
    """Show what hosts offer, and write it when a person has compared it."""
    from steelyard.host_keys import missing_keys, record, scan
    from steelyard.inventory.read import read_fleet

    offered = scan(missing_keys(read_fleet(inventory, vault_password_file)))
    for key in offered:
        screen.note(f"{key.place.host}  {key.place.name}  {key.kind}  {key.fingerprint}")
    if not offered:
        return
    screen.note("compare with each host's own: `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` on its console")
    if not yes:
        if not sys.stdin.isatty():
            raise ConfirmationImpossible(where="steelyard doctor --record-keys", changes=str(len(offered)))
        if not screen.confirm(f"Record {len(offered)} keys?"):
            return
    record(offered)
