"""The use case behind `rollout` and `rollback`: what hosts say, how they are moved, and the run itself. Nothing here
asks a person, or prints.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from steelyard.api.settings import settings_from
from steelyard.engine.lock import held_lock
from steelyard.engine.run_owner import RunOwner
from steelyard.errors import SteelyardError
from steelyard.events import Emit, Step
from steelyard.interrupts.signals import HANDLER, Interruption
from steelyard.roles.vllm.settings import Settings as EngineSettings
from steelyard.rollout.journal import RolloutHead, RolloutJournal
from steelyard.rollout.open_trials import open_trials_of
from steelyard.rollout.prepared import PreparedRollout
from steelyard.rollout.request import OnInterrupt, RolloutRequest
from steelyard.rollout.run import Rollout, RolloutOutcome, RolloutPlan
from steelyard.rollout.strategy import Prediction
from steelyard.workflows.run_context import RunOptions, fleet_lock
from steelyard_host.wire.rollout import Strategy, Trial

from .gateway_gate import GatewayGate
from .host_helpers import HostHelpers, states_at_rest, states_now
from .prediction import predict, refuse_lone_canary, serves

if TYPE_CHECKING:
    from steelyard.engine.session import Session
    from steelyard.inventory.fleet import Fleet
    from steelyard.site.site import Service, Site


class TakenUp(NamedTuple):
    """The command that an alias is moved by, `rollout` or `rollback`, and the run it goes on with, if with one."""

    command: str
    run: str | None = None


def prepare(
    fleet: Fleet,
    site: Site,
    session: Session,
    services: Sequence[Service],
    version: str,
    request: RolloutRequest,
    emit: Emit,
) -> PreparedRollout:
    """Prepare to move the services of one alias to a version that their hosts hold; nothing is changed.

    A trial that is open and moves is waited for. Raises what `predict` raises, CanaryAlone, TrialOpen, and the error of
    a host that does not answer.
    """
    first = services[0]
    alias = first.alias or first.name
    helpers = HostHelpers(session, first.name, site.model_root, first.model)
    states = states_at_rest(session, helpers, emit)
    folder = f"{site.model_root}/{first.model}/{version}"
    trials = open_trials_of(alias, states, folder)
    due = tuple(
        service
        for service in services
        if service.host not in trials.undone and not serves(states[service.host], folder)
    )
    refuse_lone_canary(alias, len(services), request.canary)
    others = tuple(service for service in due if service.host not in trials.adopted)
    predictions = {
        name: Prediction.of(trial.strategy, states[name], len(services) - 1) for name, trial in trials.adopted.items()
    }
    if others:
        predictions |= predict(request.strategy, fleet, others, len(services) - 1, folder, states, helpers, emit)
    return PreparedRollout(alias, version, tuple(services), due, states, predictions, request, trials)


def execute(
    options: RunOptions,
    fleet: Fleet,
    site: Site,
    session: Session,
    prepared: PreparedRollout,
    emit: Emit,
    taken_up: TakenUp,
    decide: Callable[[Interruption, Sequence[Trial]], OnInterrupt],
) -> RolloutOutcome:
    """The run itself, under the alias's lock: rollouts of other aliases go on beside it, an apply does not.

    `taken_up`: what is done, and the run that it goes on with; `decide`: what becomes of what is on trial where a
    signal stops it. Raises FleetLocked, LockUnreadable and KeepersSilent.
    """
    request = prepared.request
    strategies = {name: prediction.strategy for name, prediction in prepared.predictions.items()}
    command = f"{taken_up.command} {prepared.alias} {prepared.version}"
    owner = RunOwner.here(command)
    plan = plan_of(fleet, site, prepared, strategies, taken_up, f"{owner.user} from {owner.host}")
    names = [service.host for service in prepared.due]
    journal = RolloutJournal.of(options.inventory, plan.alias)
    lost: list[SteelyardError] = []
    helpers = HostHelpers(session, plan.service, plan.root, plan.project)
    done = {service.host for service in prepared.services} - set(names)
    gateways = GatewayGate(options, fleet, prepared.services, helpers, request, emit, done)

    def gate(hosts: Sequence[str]) -> str | None:
        return f"the lock is held no more: {lost[0]}" if lost else gateways(hosts)

    rollout = Rollout(plan, helpers, journal, emit, gate, decide)
    with (
        fleet_lock(options, fleet, emit, plan.alias) as lock,
        held_lock(lock, owner, lost.append),
        HANDLER.orderly(rollout.told, rollout.last_words),
    ):
        hosts = tuple(names)
        head = RolloutHead(plan.run, plan.alias, plan.version, plan.project, hosts, strategies, plan.prompts)
        journal.begin(head._replace(command=taken_up.command))
        emit(Step(command))
        rollout.withdraw(prepared.open_trials.undone)
        gateways.before(names)
        first = 1 if request.canary is not None else 0
        outcome = rollout.execute(names, request.serial, request.allowed, first)
        if outcome.cut_short is not None:
            outcome.states = states_now(session, helpers)
        return outcome


def plan_of(
    fleet: Fleet, site: Site, prepared: PreparedRollout, strategies: Mapping[str, Strategy], taken_up: TakenUp, by: str
) -> RolloutPlan:
    """The plan for services of one alias. `taken_up`: what is done, and with which run it goes on; `by`: who asks."""
    services, request = prepared.services, prepared.request
    first = services[0]
    settings = [settings_from(EngineSettings, fleet.host(service.host).variables) for service in services]
    return RolloutPlan(
        run=taken_up.run or secrets.token_hex(6),
        alias=first.alias or first.name,
        service=first.name,
        root=site.model_root,
        project=first.model,
        version=prepared.version,
        strategies=strategies,
        prompts=request.prompts,
        undo_s=request.undo_s + request.watch_s,
        ready_s=max(engine.ready_s for engine in settings),
        drain_s=max(engine.drain_s for engine in settings),
        by=by,
        command=taken_up.command,
        adopted={name: trial.run for name, trial in prepared.open_trials.adopted.items()},
    )
