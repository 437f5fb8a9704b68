"""`steelyard host`: hosts out of the site, for good."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from steelyard.errors import Exit

from .common import Run, command

if TYPE_CHECKING:
    from steelyard.engine.apply import ApplyResult
    from steelyard.engine.session import Session
    from steelyard.workflows.host_removal import HostRemoval

app = typer.Typer(help="Hosts of the site: one out of it, for good.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Hosts of the site."""


@app.command()
@command(hosts=True, yes=True, verbose=True)
def remove(
    run: Run,
    name: Annotated[str, typer.Argument(metavar="HOST", help="The host's name, declared still or no more.")],
    last: Annotated[
        bool, typer.Option("--last", help="Also where an alias, or a model, has no other host afterwards.")
    ] = False,
    dead: Annotated[
        bool, typer.Option("--dead", help="The host answers no more: it is taken out of everything else.")
    ] = False,
) -> Exit:
    """Take one host out of the site. Gateways stop sending first, its requests finish, it stops, and it is cleared.

    Everybody forgets it: gateways, Dify, the fleet's record, this controller. What the inventory still says is listed:
    deleting it is yours. Exit 0: it is out. 1: nothing was touched. 3: a host did not answer, or a task failed.
    """
    from steelyard.render.plan import show_plan
    from steelyard.render.removals import show_host_removed, show_removals
    from steelyard.roles.base.clear import STAYS
    from steelyard.workflows.host_removal import plan_removal

    from .apply import refuse_used

    removal = plan_removal(run.options, name, last=last, is_dead=dead, emit=run.screen.event)
    records: tuple[str, ...] = ()
    with removal.session(run.screen.event) as session:
        planned = session.look(keep=True)
        refuse_used(run.screen, planned)
        removal.require_answer(planned)
        if not run.confirmed(
            f"Take {name} out of the site?",
            where="steelyard host remove",
            changes=planned.changes,
            look=f"see what is there with `steelyard drift -l {name}`",
            show=lambda: show_plan(run.screen, planned),
        ):
            return Exit.USAGE
        show_removals(run.screen, planned)
        applied = _carried_out(run, removal, session)
    if applied.exit == Exit.DONE:
        records = removal.forget(run.screen.event)
    stays = [] if dead else [f"{name}: {STAYS}"]
    stays += [f"{name}: everything on it; see that it never comes back as it is"] if dead else []
    show_host_removed(run.screen, name, applied.plan, records, removal.named(), stays, applied.exit, applied.stopped)
    return applied.exit


def _carried_out(run: Run, removal: HostRemoval, session: Session) -> ApplyResult:
    """Apply the plan with the fleet's lock, which also keeps rollouts out. Raises FleetLocked."""
    from steelyard.engine.apply import WavePolicy, apply_plan
    from steelyard.engine.journal import ApplyJournal
    from steelyard.engine.run_owner import RunOwner
    from steelyard.engine.waves import Share
    from steelyard.workflows.host_removal import DEPLOY
    from steelyard.workflows.run_context import deploy_path, fleet_lock

    owner = RunOwner.here(f"host remove {removal.host.name}")
    journal = ApplyJournal(removal.options.inventory, deploy_path(DEPLOY))
    with fleet_lock(removal.options, removal.locked, run.screen.event) as lock:
        applied = apply_plan(session, lock, journal, WavePolicy(None, Share(0)), owner, run.screen.mask)
    journal.path.unlink(missing_ok=True)  # it would be one more record of the host, and nothing resumes it
    return applied
