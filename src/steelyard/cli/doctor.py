"""`steelyard doctor`: what the controller lacks, and what is wrong with the hosts' GPUs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from steelyard.errors import Exit, InventoryNotNamed

from .common import Run, command
from .options import EVERYTHING, LimitTo

if TYPE_CHECKING:
    from steelyard.api.finding import Finding


@command(inventory="optional", vault_first=True, yes=True)
def doctor(
    run: Run,
    record_keys: Annotated[
        bool,
        typer.Option(
            "--record-keys", help="Fetch the inventory's missing host keys, show them, and record them if you agree."
        ),
    ] = False,
    hosts: Annotated[
        bool,
        typer.Option(
            "--hosts",
            help=(
                "Ask the inventory's hosts too: health of every GPU, Xids, links, versions, and why services "
                "do not run."
            ),
        ),
    ] = False,
    limit: LimitTo = EVERYTHING,
) -> Exit:
    """Check this machine and an inventory. Looks at Python, libraries, keys and the lab's needs; every finding
    has its fix.

    Exit 0: all well. 2: findings. 3: with `--hosts`, a host did not answer. Without it nothing is sent to a host; with
    `--record-keys` it is asked for its key.
    """
    from steelyard.doctor.controller import check_controller
    from steelyard.inventory.choice import choose_inventory
    from steelyard.render.plan import show_findings

    run.limit = limit
    try:
        run.named_inventory = run.named_inventory or choose_inventory("steelyard doctor")
    except InventoryNotNamed as error:
        if record_keys or hosts:
            raise
        run.screen.note(f"no inventory was checked: {error.why}")
    if run.named_inventory is not None:
        if record_keys:
            _record_keys(run)
        _note_vault_password(run)
    findings = check_controller(run.named_inventory, run.vault_password_file)
    if hosts:
        findings = sorted([*findings, *_check_hosts(run)])
    all_well = "this machine and the GPUs are well" if hosts else "this machine is ready"
    show_findings(run.screen, "doctor", findings, all_well)
    return run.exit(Exit.CHANGES if findings else Exit.DONE)


def _note_vault_password(run: Run) -> None:
    """Say which password opens the vault: the one beside the inventory is taken without being named."""
    from steelyard.inventory.password import password_file

    given = run.vault_password_file
    path = password_file(run.inventory, given)
    if path is not None:
        run.screen.note(f"vault password: {path}{'' if given or path.parent != run.inventory else ', found by itself'}")


def _check_hosts(run: Run) -> list[Finding]:
    """Findings on GPUs and services, by one SSH exec per host; a host that does not answer is a finding of its own."""
    from steelyard.doctor.gpus import check_gpus, check_services

    with run.session() as (fleet, session):
        from steelyard.modules.facts.helper import HelperAnswer

        answers = session.facts(HelperAnswer, words=("doctor",))
    findings = check_gpus(fleet, answers, run.errors)
    known = {finding.id for finding in findings}  # of a helper that is not of this release, one finding is enough
    return [*findings, *(finding for finding in check_services(fleet, answers) if finding.id not in known)]


def _record_keys(run: Run) -> None:
    """Show the keys that hosts offer, and record them when a person has compared them."""
    from steelyard.doctor.host_keys import missing_keys, record, scan
    from steelyard.inventory.read import read_fleet

    offered = scan(missing_keys(read_fleet(run.inventory, run.vault_password_file)))
    for key in offered:
        run.screen.note(f"{key.place.host}  {key.place.name}  {key.kind}  {key.fingerprint}")
    if not offered:
        return
    run.screen.note("compare with each host's own: `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` on its console")
    if run.confirmed(
        f"Record {len(offered)} keys?",
        where="steelyard doctor --record-keys",
        changes=len(offered),
        look="compare the keys above with each host's own",
    ):
        record(offered)
