"""What `rollout` and `rollback` share: who serves the alias, what hosts say, the way there, and the run itself."""

from __future__ import annotations

import secrets
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import gevent

from steelyard.engine.lock import locked
from steelyard.engine.waves import Share
from steelyard.errors import (
    AliasUnknown,
    ConfirmationImpossible,
    Exit,
    HelperRefused,
    RolloutRefused,
    SteelyardError,
    nearest_key,
)
from steelyard.events import Step
from steelyard.models.manifest import Manifest
from steelyard.modules.connectors.ask import ask
from steelyard.origin import Origin
from steelyard.problem import HostProblem
from steelyard.render.rollout import show_outcome, show_prediction
from steelyard.roles.gateway.settings import Settings as GatewaySettings
from steelyard.roles.vllm.settings import Settings as EngineSettings
from steelyard.rollout.journal import Journal
from steelyard.rollout.run import Move, Outcome, Rollout
from steelyard.rollout.strategy import STRATEGIES, Prediction, chosen, why_not_reload
from steelyard.settings import settings_from

from .gating import Gate
from .model_fit import fittings_on
from .work import Wanted, keeper

if TYPE_CHECKING:
    from steelyard.engine.session import Session
    from steelyard.inventory.fleet import Fleet
    from steelyard.render.screen import Screen
    from steelyard.site import Service, Site


CANARY_S = 60
TOO_OLD = "its helper is too old for that: `steelyard apply --deploy serve`"
WORDS = {"surge": "a second engine", "sleep-swap": "a second engine while the first one sleeps", "swap": "a restart"}


class Asked(NamedTuple):
    """How the operator wants it."""

    strategy: str
    prompts: tuple[dict[str, Any], ...]
    serial: Share | None
    allowed: Share
    undo_s: int
    watch_s: int = 0  # seconds that each wave is looked at under its clients' requests before it is confirmed
    canary: float | None = None  # share of the requests that the first host gets meanwhile
    slower: float = 1.5  # so many times slower than the old version is too slow


def known_strategy(name: str) -> None:
    """Raises RolloutRefused."""
    if name not in STRATEGIES:
        allowed = ", ".join(STRATEGIES)
        raise RolloutRefused(where="--strategy", why=f"there is no strategy `{name}`", remedy_words=f"give one of {allowed}")


def looked_at(canary: str | None, watch: int | None) -> tuple[int, float | None]:
    """Seconds to look at each wave, and the canary's share. Raises ShareWrong, RolloutRefused."""
    if canary is None:
        return watch or 0, None
    share = Share.parse(canary, "--canary", least=1)
    if not share.percent or share.count > 50:
        remedy = "give a percentage from 1% to 50%"
        raise RolloutRefused(where="--canary", why=f"`{canary}` is no share of the requests", remedy_words=remedy)
    return (CANARY_S if watch is None else watch), share.count / 100


def services_of(site: Site, alias: str, inventory: Path) -> tuple[Service, ...]:
    """Raises AliasUnknown."""
    aliases = site.aliases()
    if alias not in aliases:
        known = list(aliases)
        shown = ", ".join(known) or "none"
        raise AliasUnknown(where=str(inventory), alias=alias, nearest=nearest_key(alias, known), allowed=shown)
    return aliases[alias]


class Helpers:
    """The connected hosts of a rollout. A connection that breaks is made anew: what a host does goes on without it."""

    def __init__(self, opened: Session, service: str, root: str, project: str) -> None:
        self.hosts = {host.name: host for host in opened.hosts}
        self.words = ("switch-state", root, project, service)

    def ask(self, host: str, *words: str, stdin: str | None = None, seconds: float = 60, idle: bool = False) -> dict[str, Any]:
        """Raises HostProblem, also where the helper is too old."""
        found = ask(self.hosts[host], *words, stdin=stdin, seconds=seconds, idle=idle)
        if found is None:
            why = "it does not know rollouts; `steelyard apply --deploy serve` brings it up to date"
            raise HostProblem(HelperRefused(where=host, command=words[0], why=why))
        return found

    def state(self, host: str) -> dict[str, Any]:
        return self.ask(host, *self.words)

    def settled(self, host: str, run: str, seconds: float) -> dict[str, Any]:
        end = time.monotonic() + seconds
        while True:
            try:
                self.hosts[host].connector.again()  # type: ignore[attr-defined]  # ours
                record = self.state(host)["switch"]
                if record is not None and record["run"] == run and record["state"] not in ("trying", "undoing"):
                    return dict(record)
                why = "the switch was never begun there"
                if record is None or record["run"] != run:
                    raise HostProblem(HelperRefused(where=host, command="switch-try", why=why))
            except HostProblem as problem:
                if isinstance(problem.error, HelperRefused) or time.monotonic() > end:
                    raise
            if time.monotonic() > end:
                raise HostProblem(HelperRefused(where=host, command="switch-try", why=f"it was at it for {seconds:.0f} s"))
            gevent.sleep(1)


def states_of(opened: Session, helpers: Helpers) -> dict[str, dict[str, Any]]:
    """Of every host. Raises the first host's error: a rollout begins with all of them or not at all."""
    if opened.errors:
        raise next(iter(opened.errors.values()))
    try:
        return {name: helpers.state(name) for name in opened.names}
    except HostProblem as problem:
        raise problem.error from None


def choose(
    asked: str, fleet: Fleet, services: Sequence[Service], folder: str, states: dict[str, dict[str, Any]], helpers: Helpers,
    screen: Screen,
) -> dict[str, Prediction]:  # fmt: skip
    """Host to how it is moved: in place where that is safe. Raises RolloutRefused with the numbers."""
    alias = services[0].alias or services[0].name
    hold_s = min((settings_from(GatewaySettings, host.variables).hold_s for host in fleet.hosts if host.name in fleet.groups.get("gateway", ())), default=0)  # fmt: skip
    if any(service.serve.load_strategy == "sharded" for service in services):
        remedy = (
            "`steelyard models push`, `models shard`, and `steelyard apply`, which restarts it while the gateway holds requests"
        )
        raise RolloutRefused(
            where=alias, why="it loads a sharded variant, which is made before it is served", remedy_words=remedy
        )
    reasons: dict[tuple[str, str], str | None] = {}
    found = {}
    for service in services:
        state = states[service.host]
        before = state["committed"]
        if (before, folder) not in reasons:
            reasons[before, folder] = _why_not(helpers, service, before, folder)
        why = reasons[before, folder]
        if asked == "reload" and why is not None:
            raise RolloutRefused(where=alias, why=f"it cannot be done in place: {why}", remedy_words="give `--strategy swap`")
        no_surge = state.get("no_surge", TOO_OLD)
        if asked == "surge" and no_surge is not None:
            raise RolloutRefused(where=service.host, why=no_surge, remedy_words="give `--strategy swap`, which holds requests")
        no_sleep = state.get("no_sleep", TOO_OLD)
        if asked == "sleep-swap" and no_sleep is not None:
            raise RolloutRefused(where=service.host, why=no_sleep, remedy_words="give `--strategy swap`, which starts it anew")
        strategy = chosen(asked, why, no_surge, no_sleep, len(services) - 1)
        if asked == "auto" and why is not None:
            screen.note(f"{service.host}: {WORDS[strategy]}, because {why}")
        prediction = Prediction.of(strategy, state, len(services) - 1)
        wait = prediction.too_long(hold_s)
        if wait is not None:
            raise RolloutRefused(
                where=alias,
                why=f"requests would wait up to {wait:.0f} s for {service.host}, and the gateway holds them for {hold_s} s",
                remedy_words=f"set `gateway.hold_s: {int(wait) + 1}` and apply it, or serve the alias on a second host",
            )
        found[service.host] = prediction
    return found


def refuse_without_room(site: Site, opened: Session, services: Sequence[Service]) -> None:
    """What a plan would refuse, a rollout refuses before anything is switched. Raises RolloutRefused."""
    strict = {(service.host, service.name) for service in services if service.serve.fit == "refuse"}
    for row in fittings_on(site, opened):
        if row.verdict == "no" and (row.host, row.service) in strict:
            ways = "; ".join(row.ways)
            remedy = f"would have room: {ways}" if ways else "see `steelyard models fit`, or set `serve.fit: ignore`"
            raise RolloutRefused(where=row.host, why=row.sentence, remedy_words=remedy)


def _why_not(helpers: Helpers, service: Service, before: str, folder: str) -> str | None:
    root = folder[: -len(f"/{service.model}/{folder.rsplit('/', 1)[1]}")]

    def manifest(path: str) -> Manifest | None:
        found = ask(helpers.hosts[service.host], "store-manifest", root, service.model, path.rsplit("/", 1)[1])
        return Manifest.of_json(found) if found else None

    try:
        mine, theirs = manifest(before), manifest(folder)
    except (HostProblem, KeyError, TypeError):
        return "the host cannot tell the versions apart"
    if mine is None or theirs is None:
        return "the host cannot tell the versions apart"
    return why_not_reload(mine, theirs, service.serve)


def carry_out(
    wanted: Wanted, fleet: Fleet, opened: Session, due: Sequence[Service], move: Move, asked: Asked, screen: Screen,
    services: Sequence[Service],
) -> Outcome:  # fmt: skip
    """Under the alias's lock: rollouts of other aliases go on beside it, an apply does not. `services`: all of the alias, those too that have nothing to do. Raises FleetLocked."""
    doing, names = f"rollout {move.alias} {move.version}", [service.host for service in due]
    journal = Journal.of(wanted.inventory, move.alias)
    helpers = Helpers(opened, move.service, move.root, move.project)
    gone: list[SteelyardError] = []
    already = {service.host for service in services} - set(names)
    inner = Gate(wanted, fleet, services, helpers, asked, screen, already)

    def gate(hosts: Sequence[str]) -> str | None:
        return f"the lock is lost: {gone[0]}" if gone else inner(hosts)

    with keeper(wanted, fleet, screen, move.alias) as kept, locked(kept, Origin.here(doing), gone.append):
        journal.begin({"run": move.run, "alias": move.alias, "version": move.version, "project": move.project,
                       "hosts": names, "strategies": dict(move.strategies), "prompts": list(move.prompts)})  # fmt: skip
        screen.event(Step(doing))
        inner.before(names)
        first = 1 if asked.canary is not None else 0
        return Rollout(move, helpers, journal, screen.event, gate).carry_out(names, asked.serial, asked.allowed, first)


def move_all(
    wanted: Wanted, fleet: Fleet, site: Site, opened: Session, services: Sequence[Service], version: str, asked: Asked,
    screen: Screen, command: str, yes: bool, run: str | None = None,
) -> Exit:  # fmt: skip
    """Services of one alias to a version that their hosts hold: predicted, asked for, carried out, told.

    `run`: that of a rollout that is taken up again. Raises RolloutRefused, ConfirmationImpossible, FleetLocked.
    """
    first = services[0]
    alias, declared = first.alias or first.name, first.version
    helpers = Helpers(opened, first.name, site.model_root, first.model)
    states = states_of(opened, helpers)
    folder = f"{site.model_root}/{first.model}/{version}"
    due = [service for service in services if not serves(states[service.host], folder)]
    if asked.canary is not None and len(services) == 1:
        raise RolloutRefused(
            where=alias, why="its one service gets every request, and a canary gets a share",
            remedy_words="leave `--canary` out: `--watch` looks at it before it is confirmed; or serve the alias on a second host",
        )  # fmt: skip
    predictions = choose(asked.strategy, fleet, due, folder, states, helpers, screen) if due else {}
    show_prediction(screen, alias, version, predictions, states, asked)
    if not due:
        show_outcome(screen, alias, version, None, states, declared, command)
        return Exit.DONE
    if not yes:
        if not sys.stdin.isatty():
            raise ConfirmationImpossible(where=f"steelyard {command}", changes=str(len(due)))
        if not screen.confirm(f"Move {alias} to {version} on {len(due)} hosts?"):
            return Exit.USAGE
    strategies = {name: prediction.strategy for name, prediction in predictions.items()}
    move = move_of(fleet, site, due, version, strategies, asked, run)
    outcome = carry_out(wanted, fleet, opened, due, move, asked, screen, services)
    show_outcome(screen, alias, version, outcome, states, declared, command)
    return outcome.exit


def serves(state: dict[str, Any], folder: str) -> bool:
    """A service serves a version, and would come up with it."""
    return bool(state["serves"] == folder and state["committed"] == folder)


def move_of(
    fleet: Fleet,
    site: Site,
    services: Sequence[Service],
    version: str,
    strategies: Mapping[str, str],
    asked: Asked,
    run: str | None,
) -> Move:
    """Of services of one alias. `run`: that of a rollout that is taken up again."""
    first = services[0]
    settings = [settings_from(EngineSettings, fleet.host(service.host).variables) for service in services]
    return Move(
        run=run or secrets.token_hex(6), alias=first.alias or first.name, service=first.name, root=site.model_root,
        project=first.model, version=version, strategies=strategies, prompts=asked.prompts, undo_s=asked.undo_s + asked.watch_s,
        ready_s=max(each.ready_s for each in settings), drain_s=max(each.drain_s for each in settings),
    )  # fmt: skip
