"""`steelyard models rm|gc|keep|diff`: which versions stay on the hosts, and how two of them differ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from steelyard.cli.common import Run, command
from steelyard.errors import Exit

if TYPE_CHECKING:
    from steelyard.workflows.models.remove_versions import Named

ModelName = Annotated[str, typer.Argument(metavar="MODEL")]
VersionName = Annotated[str, typer.Argument(metavar="VERSION")]


@command(limit=True, yes=True)
def rm(
    run: Run,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model, or MODEL@VERSION.")],
    version: Annotated[str | None, typer.Argument(metavar="[VERSION]", help="One version. [all of them]")] = None,
) -> Exit:
    """Remove a version, or an undeclared model, from hosts. Of such a model `current` goes too.

    One that is declared, leased, or in use by a process stays; of a declared model, current and previous stay too.
    Exit 0: gone. 1: it is declared, or no host that answered holds it. 3: a host kept it, and says why.
    """
    from steelyard.workflows.models.remove_versions import Named

    name, _, behind = model.partition("@")
    return _remove(run, Named(name, version or behind or None), 0)


@command(limit=True, yes=True)
def gc(
    *,
    keep: Annotated[
        int, typer.Option("--keep", min=0, metavar="N", help="Undeclared versions to keep per model, newest first.")
    ] = 1,
    run: Run,
) -> Exit:
    """Remove versions that nobody needs. Not declared, current, previous, in use, leased, nor among the newest that are
    kept.

    What was half received and then left for a day goes too.
    Exit 0: done, or nothing to do. 3: a host did not answer, or kept one, and says why.
    """
    return _remove(run, None, keep)


def _remove(run: Run, named: Named | None, keep: int) -> Exit:
    """Remove one named version, or without a name all that nobody needs, when a person has seen which."""
    from steelyard.render.models import show_removed
    from steelyard.workflows.models.remove_versions import Removal
    from steelyard.workflows.models.store_queries import site_in

    with run.session() as (fleet, session):
        removal = Removal(fleet, session, site_in(fleet), named, keep, str(run.inventory))
        for host, versions in removal.planned.items():
            if versions:
                run.screen.note(f"{host}: would remove {', '.join(versions)}")
        changes = sum(map(len, removal.planned.values()))
        if changes and not run.confirmed(
            "Remove them?",
            where=f"steelyard models {'rm' if named else 'gc'}",
            changes=changes,
            look="see what hosts hold with `steelyard models ls`",
        ):
            raise typer.Abort
        removal.carry_out()
    show_removed(run.screen, "rm" if named else "gc", removal.removed, removal.stays, removal.tidied, run.errors)
    return run.exit(Exit.HOST_FAILED if any(removal.stays.values()) else Exit.DONE)


@command(limit=True)
def keep(
    *,
    model: ModelName,
    version: VersionName,
    hours: Annotated[float, typer.Option("--for", min=0.01, metavar="HOURS", help="How long it is kept.")] = 24.0,
    why: Annotated[
        str, typer.Option("--why", metavar="TEXT", help="Shown to whoever would remove it.")
    ] = "kept by hand",
    release: Annotated[bool, typer.Option("--release", help="Keep it no more.")] = False,
    run: Run,
) -> Exit:
    """Keep a version on the hosts that hold it, for a while. Nothing removes what is leased, and the lease ends by
    itself.

    Exit 0: kept, or released. 1: no host that answered holds it. 3: a host did not answer.
    """
    from steelyard.render.models import show_kept
    from steelyard.workflows.models.lease_versions import UserLease

    with run.session() as (fleet, session):
        lease = UserLease(fleet, session, model, version, str(run.inventory))
        holders = lease.release() if release else lease.take(hours, why)
    show_kept(run.screen, model, version, holders, run.errors)
    return run.exit()


@command(limit=True)
def diff(run: Run, model: ModelName, before: VersionName, after: VersionName) -> Exit:
    """Tell how two versions of a model differ. Tensors, files, what a push of the second sends to a host that has the
    first.

    Read from the hosts' manifests; the declared version also from its source. Exit 0: told. 1: a version is nowhere. 3:
    a host did not answer.
    """
    from steelyard.models.content.diff import diff_of
    from steelyard.render.models import show_difference
    from steelyard.workflows.models.store_queries import listed, manifest_anywhere, site_in

    with run.session() as (fleet, session):
        site, stores = site_in(fleet), listed(fleet, session)
        first, second = (
            manifest_anywhere(session, site, stores, model, version, str(run.inventory)) for version in (before, after)
        )
    show_difference(run.screen, model, (before, after), diff_of(first, second), run.errors)
    return run.exit()
