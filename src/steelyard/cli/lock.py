"""`steelyard lock`: who changes the fleet now."""

from __future__ import annotations

from typing import Annotated

import typer

from steelyard.errors import Exit

from .common import Run, command

app = typer.Typer(help="The locks on the fleet and on each rollout.", no_args_is_help=True)


@app.command()
@command(hosts=True)
def show(run: Run) -> Exit:
    """Show who holds a lock, from where, since when and for what."""
    from steelyard.render.fleet import show_locks

    with run.fleet_lock(run.read()) as lock:
        lock.connect()
        locks = lock.show()
        show_locks(run.screen, locks, lock.keepers, lock.silent)
    return Exit.DONE


@app.command("break")
@command(hosts=True, yes=True)
def break_locks(
    run: Run,
    alias: Annotated[
        str | None, typer.Argument(metavar="[ALIAS]", help="Only that of a rollout of this alias. [every lock]")
    ] = None,
) -> Exit:
    """Take locks away from runs that are gone. A run that still lives notices, and begins nothing further."""
    from steelyard.render.fleet import show_locks

    with run.fleet_lock(run.read(), alias) as lock:
        lock.connect()
        locks = lock.show()
        if locks and not run.confirmed(
            "Take it away?" if len(locks) == 1 else "Take them away?",
            where="steelyard lock break",
            changes=1,
            look="see who holds it with `steelyard lock show`",
            show=lambda: show_locks(run.screen, locks, lock.keepers, lock.silent),
        ):
            return Exit.USAGE
        broken = lock.force_unlock()
        show_locks(run.screen, broken, lock.keepers, lock.silent, "broken")
    return Exit.DONE
