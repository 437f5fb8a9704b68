"""`steelyard rollback`: an alias goes back to a version that its hosts still hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from steelyard.errors import Exit, NoVersionBefore

from .alias_move import AliasName, Resume, RolloutOptions, carry_out, go_on, hosts_of, states_on
from .common import Run, command

if TYPE_CHECKING:
    from steelyard.site.site import Service
    from steelyard_host.wire.rollout import SwitchState, Trial


@command(hosts=True, yes=True)
def rollback(
    *,
    alias: AliasName,
    version: Annotated[
        str | None,
        typer.Argument(
            metavar="[VERSION]", help="A version that hosts hold; the one they served before, if not given."
        ),
    ] = None,
    run: Run,
    how: RolloutOptions,
    resume: Resume = False,
) -> Exit:
    """Go back to the version before. Or to another one that hosts hold: nothing is fetched, and nothing but the hosts
    is asked.

    It passes the same gates as a rollout, and fails like one; a version that is on trial is undone. models.yml is
    yours: it still declares the other version.
    """
    from steelyard.workflows.rollout.coordinate import TakenUp

    if resume:
        return go_on(run, alias, how)
    request = how.request()
    with hosts_of(run, alias) as moved:
        target = version or _version_before(moved.services, states_on(moved), alias)
        return carry_out(run, moved, target, request, TakenUp("rollback"))


def _version_before(services: tuple[Service, ...], states: Mapping[str, SwitchState], alias: str) -> str:
    """The one version that all hosts served before what they serve, or have on trial. Raises NoVersionBefore."""
    from steelyard.rollout.open_trials import open_trial, version_of

    trials = [trial for state in states.values() if (trial := open_trial(state)) is not None]
    if trials:  # who has none serves what the others go back to, or has confirmed what they try
        [before] = {version_of(trial.before) for trial in trials} if _alike(trials) else [None]
    else:
        versions = {states[service.host].previous for service in services}
        [before] = versions if len(versions) == 1 else [None]
    if before is None:
        raise NoVersionBefore(where=services[0].host, alias=alias, model=services[0].model)
    return before


def _alike(trials: list[Trial]) -> bool:
    return len({trial.before for trial in trials}) == 1
