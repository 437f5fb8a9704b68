"""`steelyard rollout`: an alias moves to the version that models.yml declares, while the old one keeps serving."""

from __future__ import annotations

from typing import Annotated

import typer

from steelyard.errors import Exit

from .alias_move import AliasName, Resume, RolloutOptions, carry_out, go_on, hosts_of, states_on, unfinished_run
from .common import Run, command
from .options import Rate


@command(hosts=True, yes=True)
def rollout(
    *,
    alias: AliasName,
    version: Annotated[
        str | None,
        typer.Argument(metavar="VERSION", help="The version, as models.yml declares it; not needed with --resume."),
    ] = None,
    run: Run,
    how: RolloutOptions,
    rate: Rate = None,
    resume: Resume = False,
) -> Exit:
    """Move an alias to a new version, wave by wave. Each: fetch, verify, warm, switch, ask for a token and the quality
    set, confirm.

    A host that fails goes back by itself; where more fail than may, all go back. Exit 0: every service serves the
    version.
    1: refused, nothing changed. 3: a host did not answer. 5: it failed and was rolled back; the old version serves. 6:
    stopped by a signal; what is where is named, and `--resume` goes on.
    """
    from steelyard.errors import VersionNotDeclared
    from steelyard.inventory.locate import locate
    from steelyard.roles.dify import refuse_new_vectors
    from steelyard.rollout.open_trials import served_on
    from steelyard.rollout.strategy import parse_strategy
    from steelyard.workflows.models.push_models import push_models
    from steelyard.workflows.rollout.coordinate import TakenUp
    from steelyard.workflows.rollout.prediction import refuse_without_room

    parse_strategy(how.strategy)
    unfinished = unfinished_run(run, alias) if resume else None
    if resume and (unfinished is None or unfinished.command != "rollout"):
        return go_on(run, alias, how)
    asked_version = unfinished.version if unfinished else version
    request = how.request(unfinished.prompts if unfinished else None)
    with hosts_of(run, alias) as moved:
        fleet, site, services, session = moved
        project, declared = services[0].model, services[0].version
        if asked_version != declared:
            where = locate(fleet.path, None, ("models", project, "version"))
            raise VersionNotDeclared(
                where=where, alias=alias, model=project, version=str(asked_version or "..."), declared=declared
            )
        if unfinished is None:
            refuse_new_vectors(fleet, site, services, lambda: served_on(states_on(moved)))
        pushed = push_models(fleet, session, site, [project], rate, run.screen.event)[project]
        if pushed.errors:
            raise next(iter(pushed.errors.values()))
        refuse_without_room(site, session, services)
        return carry_out(run, moved, declared, request, TakenUp("rollout", unfinished.run if unfinished else None))
