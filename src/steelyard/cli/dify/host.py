"""`steelyard dify backup|backups|verify|restore|upgrade`: what the Dify host does itself, asked for from here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from steelyard.cli.common import Run, command
from steelyard.errors import Exit

if TYPE_CHECKING:
    from steelyard.inventory.fleet import Fleet
    from steelyard.workflows.dify_host import DifyHost

Archive = Annotated[
    str, typer.Argument(metavar="ARCHIVE", help="Path of the archive on the Dify host, as `backups` names it.")
]
REHEARSE = "try it on a copy with `steelyard dify upgrade --rehearsal`"


@contextmanager
def _connected(run: Run) -> Iterator[tuple[Fleet, DifyHost]]:
    """The connected Dify host of the run's inventory."""
    from steelyard.workflows.dify_host import dify_host

    run.limit = "dify"
    with dify_host(run.options, run.screen.event) as (fleet, dify):
        yield fleet, dify


@command(hosts=True, vault_first=True)
def backup(
    run: Run,
    prove: Annotated[
        bool, typer.Option("--prove", help="Restore it into scratch databases as well, and count their tables.")
    ] = False,
) -> Exit:
    """Make one verified archive on the Dify host. Both databases, volumes with the private keys, `.env`, Compose files.

    Dify keeps running. Exit 0: it is there, every byte read again. 3: there is none, and why; those before are
    untouched.
    """
    from steelyard.render.dify import show_backup
    from steelyard_host.wire.dify import Backup, BackupProof

    proof = None
    with _connected(run) as (_, dify):
        made = dify.work(Backup, "dify-backup", "asked for")
        if prove:
            proof = dify.work(BackupProof, "dify-prove", made.archive)
    show_backup(run.screen, dify.name, made, proof)
    return Exit.DONE


@command(hosts=True)
def backups(run: Run) -> Exit:
    """List the archives on the Dify host, oldest first. Reads only."""
    from steelyard.render.dify import show_backups
    from steelyard.roles.dify import dify_settings
    from steelyard_host.wire.dify import BackupList

    with _connected(run) as (fleet, dify):
        archives = dify.ask(BackupList, "dify-backups", dify_settings(fleet).backups.folder).backups
    show_backups(run.screen, dify.name, archives)
    return Exit.DONE


@command(hosts=True)
def verify(archive: Archive, run: Run) -> Exit:
    """Read every byte of an archive against the list in it. Exit 0: whole. 3: half written or damaged, and where."""
    from steelyard.render.dify import show_archive
    from steelyard_host.wire.dify import ArchiveList

    with _connected(run) as (_, dify):
        content = dify.work(ArchiveList, "dify-verify", archive)
    show_archive(run.screen, dify.name, archive, content)
    return Exit.DONE


@command(hosts=True, yes=True)
def restore(archive: Archive, run: Run) -> Exit:
    """Bring the Dify host to an archive. An empty host, or one whose Dify is set aside and comes back if the archive
    fails.

    Exit 0: Dify answers from the archive. 3: it does not; what was there before runs again. 1: not confirmed.
    """
    from steelyard.render.dify import show_restored
    from steelyard.workflows.dify_host import fleet_locked
    from steelyard_host.wire.dify import ArchiveList, Restored

    with _connected(run) as (fleet, dify):
        content = dify.work(ArchiveList, "dify-verify", archive)
        if not run.confirmed(
            f"Replace Dify on {dify.name} by its state of {content.made} (Dify {content.version})?",
            where="steelyard dify restore",
            changes=1,
            look=f"see what it holds with `steelyard dify verify {archive}`",
        ):
            return Exit.USAGE
        with fleet_locked(run.options, fleet, run.screen.event, "dify restore"):
            restored = dify.work(Restored, "dify-restore", archive)
    show_restored(run.screen, dify.name, archive, restored)
    return Exit.DONE


@command(hosts=True, vault_first=True, yes=True)
def upgrade(
    run: Run,
    rehearsal: Annotated[
        bool, typer.Option("--rehearsal", help="Only stage, pull and rehearse: nothing that runs is touched.")
    ] = False,
) -> Exit:
    """Move Dify to the release that is declared. Stage, pull, rehearse on a copy of the last backup, back up, switch,
    check.

    From the switch on the host needs nobody, and what fails is restored from the backup made after the stop. Exit 0:
    the new release answers, with the outage measured. 3: refused or failed before anything stopped. 5: failed and
    restored.
    """
    from steelyard.dify.release import release_of, verification
    from steelyard.render.dify import show_rehearsed, show_up_to_date, show_upgraded
    from steelyard.workflows.dify_host import STAGE_DEPLOY, fleet_locked, stage_release

    with _connected(run) as (fleet, dify):
        releases = dify.releases(fleet)
        if releases.running == releases.declared:
            show_up_to_date(run.screen, dify.name, releases.running)
            return Exit.DONE
        stage_release(replace(run.options, deploy=STAGE_DEPLOY), run.screen.event, run.screen.mask)
        with fleet_locked(run.options, fleet, run.screen.event, "dify upgrade"):
            rehearsal_done = dify.rehearse(releases, verification(release_of(releases.declared)))
            if rehearsal:
                show_rehearsed(run.screen, dify.name, releases.running, releases.declared, rehearsal_done)
                return Exit.DONE
            if not run.confirmed(
                f"Stop Dify {releases.running} on {dify.name} and bring up {releases.declared}?",
                where="steelyard dify upgrade",
                changes=1,
                look=REHEARSE,
            ):
                return Exit.USAGE
            upgrade_done = dify.switch()
    show_upgraded(run.screen, dify.name, upgrade_done)
    return Exit.DONE
