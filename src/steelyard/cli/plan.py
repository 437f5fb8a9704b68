"""`steelyard plan`: what apply would change, and why."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from steelyard.errors import Exit

from .common import Run, command
from .options import Prune, WithGateway


@command(limit=True, deploy=True, verbose=True)
def plan(
    run: Run,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="FILE", help="Save the plan for `apply FILE`, and for people.")
    ] = None,
    with_gateway: WithGateway = False,
    prune: Prune = False,
) -> Exit:
    """Show what apply would change. By host and role, with -v each command and diff; nothing is changed.

    Exit 0: in sync. 2: changes pending. 3: a host could not be planned. 1 and 4: nothing was looked at.
    """
    from steelyard.render.plan import plan_text, show_plan
    from steelyard.workflows.restarts import advice_of_restarts
    from steelyard.workflows.run_context import advice_of_left_out

    options = replace(run.options, with_gateway=with_gateway, pruning=prune)
    with run.session(options) as (fleet, session):
        planned = session.look(keep=out is not None)
        if out is not None:
            from steelyard.workflows.saved_plans import save_plan

            text = plan_text(run.screen, planned)
            save_plan(out, options, session, planned, text, run.screen.mask, run.screen.event)
    run.screen.advice += advice_of_left_out(options, fleet, planned)
    run.screen.advice += advice_of_restarts(fleet, planned)
    show_plan(run.screen, planned)
    return planned.exit
