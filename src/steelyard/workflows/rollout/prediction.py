"""The prediction of a rollout: how each host is moved, at which cost, and what is refused before anything changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from steelyard.api.host_error import HostError
from steelyard.errors import (
    AliasUnknown,
    CanaryAlone,
    NoSecondEngine,
    NoSleepingEngine,
    NotInPlace,
    VariantNotSwitched,
    VersionDoesNotFit,
    WaitTooLong,
    nearest_key,
)
from steelyard.events import Emit, Step
from steelyard.rollout.strategy import Prediction, choose_strategy, why_not_reload
from steelyard.workflows.models.fit_on_hosts import fit_on_hosts
from steelyard.workflows.restarts import declared_hold_s
from steelyard_host.wire.rollout import Strategy, SwitchState

from .host_helpers import HostHelpers

if TYPE_CHECKING:
    from steelyard.engine.session import Session
    from steelyard.inventory.fleet import Fleet
    from steelyard.site.site import Service, Site

TITLES = {
    Strategy.SURGE: "a second engine",
    Strategy.SLEEP_SWAP: "a second engine while the first one sleeps",
    Strategy.SWAP: "a restart",
}
CANNOT_TELL = "the host cannot tell the versions apart"


def services_of(site: Site, alias: str, inventory: Path) -> tuple[Service, ...]:
    """The services that answer to `alias`. Raises AliasUnknown."""
    aliases = site.aliases()
    if alias not in aliases:
        known = list(aliases)
        shown = ", ".join(known) or "none"
        raise AliasUnknown(where=str(inventory), alias=alias, nearest=nearest_key(alias, known), allowed=shown)
    return aliases[alias]


def serves(state: SwitchState, folder: str) -> bool:
    """Whether a service serves the version in `folder`, and would come up with it."""
    return state.serves == folder and state.committed == folder


def predict(
    asked: Strategy | None,
    fleet: Fleet,
    services: Sequence[Service],
    others: int,
    folder: str,
    states: Mapping[str, SwitchState],
    helpers: HostHelpers,
    emit: Emit,
) -> dict[str, Prediction]:
    """Predict how each host is moved to the version in `folder`: as `asked`, or in place where that is safe.

    `others`: services of the alias that answer while one of them is moved.

    Raises VariantNotSwitched, NotInPlace, NoSecondEngine, NoSleepingEngine or WaitTooLong, with the numbers.
    """
    alias = services[0].alias or services[0].name
    hold_s = declared_hold_s(fleet)
    if any(service.serve.load_strategy == "sharded" for service in services):
        raise VariantNotSwitched(where=alias)
    reasons: dict[str, str | None] = {}  # by the folder that is served
    predictions = {}
    for service in services:
        state = states[service.host]
        if state.committed not in reasons:
            reasons[state.committed] = _why_not_in_place(helpers, service, state.committed, folder)
        not_in_place = reasons[state.committed]
        if asked is Strategy.RELOAD and not_in_place is not None:
            raise NotInPlace(where=alias, why=not_in_place)
        if asked is Strategy.SURGE and state.no_surge is not None:
            raise NoSecondEngine(where=service.host, why=state.no_surge)
        if asked is Strategy.SLEEP_SWAP and state.no_sleep is not None:
            raise NoSleepingEngine(where=service.host, why=state.no_sleep)
        strategy = choose_strategy(asked, not_in_place, state.no_surge, state.no_sleep, others)
        if asked is None and not_in_place is not None:
            emit(Step(f"{service.host}: {TITLES[strategy]}, because {not_in_place}"))
        prediction = Prediction.of(strategy, state, others)
        wait = prediction.too_long(hold_s)
        if wait is not None:
            needed_s = int(wait) + 1
            raise WaitTooLong(where=alias, host=service.host, wait_s=round(wait), hold_s=hold_s, needed_s=needed_s)
        predictions[service.host] = prediction
    return predictions


def _why_not_in_place(helpers: HostHelpers, service: Service, before: str, folder: str) -> str | None:
    """Why the engine cannot take the weights of `folder` in place of those of `before`; None where it can."""
    try:
        manifests = [helpers.manifest(service.host, path.rsplit("/", 1)[1]) for path in (before, folder)]
    except (HostError, KeyError, TypeError):
        return CANNOT_TELL
    mine, theirs = manifests
    if mine is None or theirs is None:
        return CANNOT_TELL
    return why_not_reload(mine, theirs, service.serve)


def refuse_lone_canary(alias: str, services: int, canary: float | None) -> None:
    """A canary gets a share of the requests, so an alias needs more than one service. Raises CanaryAlone."""
    if canary is not None and services == 1:
        raise CanaryAlone(where=alias)


def refuse_without_room(site: Site, session: Session, services: Sequence[Service]) -> None:
    """Refuse before anything is switched what a plan would refuse too. Raises VersionDoesNotFit."""
    strict = {(service.host, service.name) for service in services if service.serve.fit == "refuse"}
    for row in fit_on_hosts(site, session):
        if row.verdict == "no" and (row.host, row.service) in strict:
            ways = {"ways": "; ".join(row.suggestions)} if row.suggestions else {}
            raise VersionDoesNotFit(where=row.host, why=row.sentence, **ways)
