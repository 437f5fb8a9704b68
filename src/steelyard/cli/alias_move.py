"""The part that `steelyard rollout` and `steelyard rollback` share: how an alias is moved, taken up again, and left."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from steelyard.errors import Exit, NoRolloutToResume

from .common import Run
from .stopped import call_of

if TYPE_CHECKING:
    from steelyard.engine.session import Session
    from steelyard.interrupts.signals import Interruption
    from steelyard.inventory.fleet import Fleet
    from steelyard.rollout.journal import RolloutHead
    from steelyard.rollout.prepared import PreparedRollout
    from steelyard.rollout.request import OnInterrupt, RolloutRequest
    from steelyard.site.site import Service, Site
    from steelyard.workflows.rollout.coordinate import TakenUp
    from steelyard_host.wire.rollout import Prompt, SwitchState, Trial

ANSWER_S = 60  # that a person may think about what is on trial

AliasName = Annotated[str, typer.Argument(metavar="ALIAS", help="The name that clients ask for.")]
StrategyName = Annotated[
    str,
    typer.Option(
        "--strategy",
        metavar="NAME",
        help=(
            "auto, reload (weights in place), surge (a second engine beside it), swap (restart; the gateway "
            "holds requests) or sleep-swap (the same, and the old engine sleeps until the new one is "
            "confirmed)."
        ),
    ),
]
PromptsFile = Annotated[
    Path | None,
    typer.Option(
        "--prompts", metavar="FILE", help="Quality set: a JSON document a line, `prompt` or `messages`, and `expect`."
    ),
]
Waves = Annotated[str, typer.Option("--waves", metavar="N|P%", help="Hosts that switch together.")]
MaxFail = Annotated[str, typer.Option("--max-fail", metavar="N|P%", help="Hosts that may stay on the old version.")]
Undo = Annotated[
    int,
    typer.Option("--undo-after", min=10, metavar="S", help="Seconds after which a host undoes what nobody confirmed."),
]
Canary = Annotated[
    str | None,
    typer.Option(
        "--canary", metavar="P%", help="Share of the requests that the first host gets while it is looked at."
    ),
]
Watch = Annotated[
    int | None,
    typer.Option(
        "--watch",
        min=0,
        metavar="S",
        help="Seconds each wave is held against the old version: times and errors. [60 with --canary]",
    ),
]
Slower = Annotated[
    float, typer.Option("--slower", min=1, metavar="X", help="So many times slower than the old version is refused.")
]
Leaving = Annotated[
    str | None,
    typer.Option(
        "--on-interrupt",
        metavar="undo|hold",
        help="What is on trial when a signal comes goes back, or waits for --resume. [asked at a terminal, else undo]",
    ),
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on with the run that was cut short, or with what hosts have on trial.")
]


@dataclass(frozen=True)
class RolloutOptions:
    """The options that `rollout` and `rollback` share: how an alias moves."""

    strategy: StrategyName = "auto"
    waves: Waves = "1"
    max_fail: MaxFail = "0"
    prompts: PromptsFile = None
    undo_after: Undo = 300
    canary: Canary = None
    watch: Watch = None
    slower: Slower = 1.5
    on_interrupt: Leaving = None

    def request(self, prompts: tuple[Prompt, ...] | None = None) -> RolloutRequest:
        """The request as workflows take it; `prompts` stand in for the file, of a rollout that is taken up again.

        Raises StrategyUnknown, ShareWrong, CanaryShareWrong, PromptsWrong, OnInterruptUnknown.
        """
        from steelyard.engine.waves import Share
        from steelyard.rollout.prompts import read_prompts
        from steelyard.rollout.request import RolloutRequest, parse_canary, parse_on_interrupt
        from steelyard.rollout.strategy import parse_strategy

        strategy = parse_strategy(self.strategy)
        if prompts is None:
            prompts = read_prompts(self.prompts) if self.prompts else ()
        serial, allowed = Share.parse(self.waves, "--waves", least=1), Share.parse(self.max_fail, "--max-fail")
        watch_s, canary = parse_canary(self.canary, self.watch)
        leave = parse_on_interrupt(self.on_interrupt)
        return RolloutRequest(strategy, prompts, serial, allowed, self.undo_after, watch_s, canary, self.slower, leave)


class Moved(NamedTuple):
    """An alias whose hosts are connected to."""

    fleet: Fleet
    site: Site
    services: tuple[Service, ...]
    session: Session


@contextmanager
def hosts_of(run: Run, alias: str) -> Iterator[Moved]:
    """The alias's services with their hosts connected, as far as they answer. Raises AliasUnknown."""
    from steelyard.workflows.models.store_queries import site_in
    from steelyard.workflows.rollout.prediction import services_of

    fleet = run.read()
    site = site_in(fleet)
    services = services_of(site, alias, run.inventory)
    names = ",".join(service.host for service in services)
    with run.session(replace(run.options, limit=names)) as (_, session):
        yield Moved(fleet, site, services, session)


def states_on(moved: Moved) -> dict[str, SwitchState]:
    """The state of the alias on every host, by its own word. Raises the error of one that does not answer."""
    from steelyard.workflows.rollout.host_helpers import HostHelpers, states_of

    first, session = moved.services[0], moved.session
    session.each(lambda host: None)  # connected, as far as they answer
    return states_of(session, HostHelpers(session, first.name, moved.site.model_root, first.model))


def unfinished_run(run: Run, alias: str) -> RolloutHead | None:
    """The run of this alias that was cut short, by this machine's journal."""
    from steelyard.rollout.journal import RolloutJournal

    return RolloutJournal.of(run.inventory, alias).unfinished()


def go_on(run: Run, alias: str, how: RolloutOptions) -> Exit:
    """Take up the run that was cut short, whichever command it was; without one what hosts have on trial.

    What models.yml declares by now has no say in it, nor is anything fetched: hosts hold the version. Raises
    NoRolloutToResume.
    """
    from steelyard.workflows.rollout.coordinate import TakenUp

    unfinished = unfinished_run(run, alias)
    with hosts_of(run, alias) as moved:
        if unfinished is not None:
            request = how.request(unfinished.prompts)
            return carry_out(run, moved, unfinished.version, request, TakenUp(unfinished.command, unfinished.run))
        version = _on_trial(run, alias, states_on(moved))
        return carry_out(run, moved, version, how.request(), TakenUp("rollout"))


def _on_trial(run: Run, alias: str, states: Mapping[str, SwitchState]) -> str:
    """The version that hosts have on trial. Raises NoRolloutToResume where none has one."""
    from steelyard.rollout.open_trials import open_trial, version_of

    trials = [trial for state in states.values() if (trial := open_trial(state)) is not None]
    if not trials:
        serves = ", ".join(f"{host} serves {version_of(state.serves)}" for host, state in states.items())
        raise NoRolloutToResume(where=str(run.inventory), alias=alias, serves=serves)
    return version_of(trials[0].folder)


def carry_out(run: Run, moved: Moved, version: str, request: RolloutRequest, taken_up: TakenUp) -> Exit:
    """Show what moving an alias to a version would cost, ask, carry it out, and show what came of it.

    Raises what `prepare` raises, ConfirmationImpossible, FleetLocked.
    """
    from steelyard.render.rollout import show_outcome, show_prediction
    from steelyard.workflows.rollout.coordinate import execute, prepare

    screen, (fleet, site, services, session), command = run.screen, moved, taken_up.command
    session.each(lambda host: None)
    prepared = prepare(fleet, site, session, services, version, request, screen.event)
    undone = prepared.open_trials.undone
    show_prediction(screen, prepared)
    if not prepared.due and not undone:
        show_outcome(screen, prepared, None, command)
        return Exit.DONE
    question = f"Move {prepared.alias} to {prepared.version} on {len(prepared.due) + len(undone)} hosts?"
    where, look = f"steelyard {command}", "read the prediction above"
    if not run.confirmed(question, where=where, changes=len(prepared.due) + len(undone), look=look):
        return Exit.USAGE
    decide = _decision(run, request.on_interrupt, prepared)
    outcome = execute(run.options, fleet, site, session, prepared, screen.event, taken_up, decide)
    show_outcome(screen, prepared, outcome, command, again=_again(command))
    return outcome.exit


def _again(command: str) -> str:
    """The call that goes on: this one, with `--resume`."""
    given = sys.argv[1:]
    return call_of(given if "--resume" in given or command not in given else [*given, "--resume"])


def _decision(
    run: Run, given: OnInterrupt | None, prepared: PreparedRollout
) -> Callable[[Interruption, Sequence[Trial]], OnInterrupt]:
    """What becomes of trials where a signal comes: as given, or as a person says, or back."""

    def decide(first: Interruption, trials: Sequence[Trial]) -> OnInterrupt:
        from steelyard.rollout.request import OnInterrupt

        if given is not None:
            return given
        if run.yes or first.hung_up or run.screen.json or not sys.stdin.isatty():
            return OnInterrupt.UNDO
        at = f"{prepared.version} is on trial on {len(trials)} of {len(prepared.services)} hosts"
        question = f"{at}: undo it now, or hold it for `--resume`, {trials[0].undo_s} s at most?"
        ways = [way.value for way in OnInterrupt]
        return OnInterrupt(run.screen.choose(question, ways, OnInterrupt.UNDO.value, ANSWER_S))

    return decide
