"""`steelyard doctor`: what the controller lacks, and what is wrong with the hosts' GPUs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from steelyard.errors import ConfirmationImpossible, Exit, UsageWrong

from .options import EVERYTHING, Json, LimitTo, NoColor, VaultPasswordFile, Yes

if TYPE_CHECKING:
    from steelyard.finding import Finding
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
    hosts: Annotated[
        bool, typer.Option("--hosts", help="Ask the inventory's GPU hosts too: health of every GPU, Xids, links, versions.")
    ] = False,
    limit: LimitTo = EVERYTHING,
    yes: Yes = False,
    json: Json = False,
    no_color: NoColor = False,
) -> Exit:
    """Check this machine: Python, libraries, keys, the lab's needs, and an inventory. Every finding has its fix.

    Exit 0: all well. 2: findings. 3: with `--hosts`, a host did not answer. Without it nothing is sent to a host; with
    `--record-keys` it is asked for its key.
    """
    from steelyard.checkup import check_controller
    from steelyard.render.screen import Screen

    screen = Screen(json=json, no_color=no_color)
    if record_keys:
        if inventory is None:
            raise UsageWrong(where="steelyard doctor", why="--record-keys needs an inventory (-i)")
        _record(inventory, vault_password_file, yes, screen)
    findings = check_controller(inventory, vault_password_file)
    failed = False
    if hosts:
        if inventory is None:
            raise UsageWrong(where="steelyard doctor", why="--hosts needs an inventory (-i)")
        found, failed = _hosts(inventory, limit, vault_password_file, screen)
        findings = sorted([*findings, *found])
    screen.findings("doctor", findings, "this machine and the GPUs are well" if hosts else "this machine is ready")
    return Exit.HOST_FAILED if failed else Exit.CHANGES if findings else Exit.DONE


def _hosts(inventory: Path, limit: str, vault_password_file: Path | None, screen: Screen) -> tuple[list[Finding], bool]:
    """One SSH exec per host; a host that does not answer is a finding of its own."""
    from steelyard.checkup import check_gpus

    from .work import Wanted, session

    with session(Wanted(inventory, limit, vault_password_file, None), screen) as (fleet, opened):
        from steelyard.modules.facts.helper import HelperAnswer

        answers = opened.facts(HelperAnswer, words=("gpu-health",))
        return check_gpus(fleet, answers, opened.errors), bool(opened.errors)


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
