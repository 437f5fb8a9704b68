"""A rollout over its hosts, wave by wave: try, gate, confirm; and back where more fail than may. It knows no
connection.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from gevent.pool import Pool

from steelyard.api.host_error import HostError
from steelyard.api.outcome import HostOutcome, outcome_of
from steelyard.engine.waves import FailLimit, Share, waves_of
from steelyard.errors import Exit, SteelyardError, SwitchFailed
from steelyard.events import Emit, HostEnded, RunStarted, Step, TaskEnded, TaskStarted, WaveStarted
from steelyard.interrupts.signals import HANDLER, Interruption, SignalHandler
from steelyard_host.wire.rollout import Prompt, Strategy, SwitchState, Trial, TrialRequest, TrialState

from .journal import RolloutJournal
from .request import OnInterrupt

CONFIRM_S = 60
SEEN_S = 10  # for a host that failed without a word
Answer = TypeVar("Answer")


class RolloutHosts(Protocol):
    """The helpers of a rollout's hosts; each method raises HostError where a host does not answer, or says no."""

    def warm(self, host: str, folder: str) -> None:
        """The version in `folder` is in the page cache, as far as it fits; what serves goes before it."""
        ...

    def attempt(self, host: str, request: TrialRequest, seconds: float) -> Trial:
        """The version is tried; the record of the trial that has ended."""
        ...

    def confirm(self, host: str, run: str) -> Trial:
        """The version that `run` tried stays."""
        ...

    def undo(self, host: str, run: str, why: str, seconds: float) -> Trial | None:
        """The service goes back to the version of before `run`; None where it was never switched."""
        ...

    def settled(self, host: str, run: str, seconds: float) -> Trial:
        """The record of the switch `run`, after the connection was lost; waits until nothing moves there any more."""
        ...


@dataclass(frozen=True)
class RolloutPlan:
    """The move of an alias: the service `service` of model `project` to version `version`; `strategies` by host.

    `adopted`: runs whose open trials of that version this one goes on with, by host; `by`: who asks, by which
    `command`.
    """

    run: str
    alias: str
    service: str
    root: str
    project: str
    version: str
    strategies: Mapping[str, Strategy]
    prompts: tuple[Prompt, ...] = ()
    ready_s: int = 900
    drain_s: int = 60
    undo_s: int = 300
    by: str = ""
    command: str = "rollout"
    adopted: Mapping[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> str:
        """The folder of the version on every host."""
        return f"{self.root}/{self.project}/{self.version}"

    @property
    def longest_s(self) -> int:
        """Seconds after which a host has come to an end with a switch, whatever the end."""
        return 3 * self.ready_s + self.drain_s + 60

    def run_on(self, host: str) -> str:
        """The run under whose name the host knows its trial."""
        return self.adopted.get(host, self.run)

    def request(self, host: str, folder: str, run: str) -> TrialRequest:
        """Return what the host's helper is to try."""
        return TrialRequest(
            run=run,
            service=self.service,
            folder=folder,
            strategy=self.strategies[host],
            prompts=self.prompts,
            ready_s=self.ready_s,
            drain_s=self.drain_s,
            undo_s=self.undo_s,
            by=self.by,
        )


@dataclass
class RolloutOutcome:
    """The result of a run: `records` are the helpers' own, `errors` what went wrong. `left`: hosts of which nobody
    knows what they serve. `cut_short`: the signal that stopped it before its end; `states`: what hosts said after that.
    """

    records: dict[str, Trial] = field(default_factory=dict)
    errors: dict[str, SteelyardError] = field(default_factory=dict)
    rolled_back: bool = False
    left: set[str] = field(default_factory=set)
    cut_short: Interruption | None = None
    states: dict[str, SwitchState] = field(default_factory=dict)

    @property
    def exit(self) -> Exit:
        """The exit code of the command."""
        if self.cut_short is not None:
            return Exit.INTERRUPTED
        if self.left:
            return Exit.HOST_FAILED
        return Exit.ROLLED_BACK if self.rolled_back else Exit.HOST_FAILED if self.errors else Exit.DONE


class Rollout:
    """One run. `gate` is asked after each wave has switched and before it is confirmed; a sentence refuses the wave.

    A signal stops it before its next step; `decide` then says what becomes of the hosts that are on trial.
    """

    def __init__(
        self,
        plan: RolloutPlan,
        hosts: RolloutHosts,
        journal: RolloutJournal,
        emit: Emit,
        gate: Callable[[Sequence[str]], str | None],
        decide: Callable[[Interruption, Sequence[Trial]], OnInterrupt] = lambda first, trials: OnInterrupt.UNDO,
        handler: SignalHandler = HANDLER,
    ) -> None:
        self.plan, self.hosts, self.journal, self.emit, self.gate = plan, hosts, journal, emit, gate
        self.decide, self.handler = decide, handler
        self.outcome = RolloutOutcome()
        self.moving: set[str] = set()  # hosts that are told to switch, and have not answered

    def execute(self, names: Sequence[str], serial: Share | None, allowed: Share, first: int = 0) -> RolloutOutcome:
        """All waves, or none: where more hosts fail than may, those that were moved are moved back. `first`: hosts of a
        wave before all.
        """
        waves = [*waves_of(names[:first], None), *waves_of(names[first:], serial)]
        limit = FailLimit(len(names), allowed)
        self.emit(RunStarted(len(names), "switching", passing=True))
        for number, wave in enumerate(waves, start=1):
            if self.handler.first is None:
                self.emit(WaveStarted(number, len(waves), wave))
                self._wave(wave)
            if self.handler.first is not None and self._is_undecided(wave):
                self._cut_short(self.handler.first, wave)
                return self.outcome
            for name in self.outcome.errors:
                limit.note(name)
            for name in wave:
                self.emit(HostEnded(name, self._outcome_of(name)))
            if limit.exceeded:
                self._go_back()
                break
        self.journal.step("end")
        return self.outcome

    def withdraw(self, trials: Mapping[str, Trial]) -> None:
        """Undo trials of other runs, whose hosts then serve what this run is to bring."""
        Pool(20).map(self._withdraw, trials.items())

    def _withdraw(self, item: tuple[str, Trial]) -> None:
        name, trial = item
        self.journal.step("withdraw", name)
        self.emit(Step(f"{name}: its trial is undone"))
        try:
            undone = self.hosts.undo(name, trial.run, "the operator went back", 2 * self.plan.ready_s)
        except HostError as problem:
            self._failed(name, problem.error)
            self.outcome.left.add(name)
            return
        self.outcome.records[name] = undone or trial

    def _wave(self, wave: Sequence[str]) -> None:
        """The hosts of a wave try, pass the gate and are confirmed, as far as no signal comes between."""
        Pool(len(wave)).map(self._try, wave)
        switched = [name for name in wave if name in self.outcome.records and name not in self.outcome.errors]
        refused = self.gate(switched) if switched and self.handler.first is None else None
        if self.handler.first is not None:
            return  # a gate that was cut short has no say
        if refused is not None:
            for name in switched:
                self._failed(name, SwitchFailed(where=name, why=refused))
        else:
            Pool(len(wave)).map(self._confirm, switched)

    def _is_undecided(self, wave: Sequence[str]) -> bool:
        """Whether a host of the wave was not tried, or is on trial and was not refused."""
        trials = {name: self.outcome.records.get(name) for name in wave if name not in self.outcome.errors}
        return any(trial is None or trial.state is TrialState.SERVING for trial in trials.values())

    def _cut_short(self, first: Interruption, wave: Sequence[str]) -> None:
        """Nothing further is begun; what is on trial goes back, or waits for `--resume`."""
        self.outcome.cut_short = first
        self.journal.step("interrupted")
        trials = [self.outcome.records[name] for name in self._on_trial(wave)]
        if trials and self.decide(first, trials) is OnInterrupt.UNDO:
            Pool(len(wave)).map(self._undo, self._on_trial(wave))
        for name in wave:
            self.emit(HostEnded(name, self._outcome_of(name)))

    def _outcome_of(self, name: str) -> HostOutcome | None:
        error = self.outcome.errors.get(name)
        return outcome_of(error) if error is not None else None

    def _on_trial(self, names: Sequence[str]) -> list[str]:
        records = self.outcome.records
        return [name for name in names if name in records and records[name].state is TrialState.SERVING]

    def told(self, first: Interruption) -> None:
        """Say what a signal stops, and what comes to its end before that."""
        self.emit(Step(f"{first.title}: stops before the next step; once more: leave now"))
        for name in sorted(self.moving):
            self.emit(Step(f"{name}: the switch there comes to its end first"))

    def last_words(self) -> list[str]:
        """Say of each host that is on trial what it does by itself, where nobody waits any more."""
        open_on = sorted(self.moving | set(self._on_trial(list(self.outcome.records))))
        after = f"{self.plan.undo_s} s after it serves, where nobody confirms it"
        lines = [f"{name}: {self.plan.version} is on trial; the host goes back by itself {after}" for name in open_on]
        alias, is_back = self.plan.alias, self.plan.command == "rollback"
        again = f"`steelyard rollback {alias} --resume`" if is_back else f"`steelyard rollout {alias} --resume`"
        return [*lines, f"go on: {again}"]

    def _failed(self, name: str, error: SteelyardError) -> None:
        self.outcome.errors[name] = error

    def _try(self, name: str) -> None:
        plan = self.plan
        if name not in plan.adopted:
            self._shown(name, f"warm {plan.version}", self._warm)
        if self.handler.first is not None:
            return
        self.journal.step("try", name)
        self.emit(Step(f"{name}: {plan.version} by {plan.strategies[name]}"))
        self.moving.add(name)
        try:
            trial = self._shown(
                name, f"switch to {plan.version}", lambda name: self._switch(name, plan.folder, plan.run_on(name))
            )
        except HostError as problem:
            self._failed(name, problem.error)
            return
        finally:
            self.moving.discard(name)
        self.outcome.records[name] = trial
        if not trial.state.serves_new:
            # the cause of an engine that did not start has a fix of its own
            mend = {"mend": trial.cause.fix} if trial.cause is not None else {}
            self._failed(name, SwitchFailed(where=name, why=trial.why, **mend))

    def _shown(self, name: str, title: str, work: Callable[[str], Answer]) -> Answer:
        """Work on a host that takes long, with its begin and its end."""
        self.emit(TaskStarted(name, title))
        try:
            return work(name)
        finally:
            self.emit(TaskEnded(name, title))

    def _warm(self, name: str) -> None:
        """Into the page cache while the old version still answers; one that does not fit there is read when it is
        needed.
        """
        self.journal.step("warm", name)
        try:
            self.handler.abandon(lambda: self.hosts.warm(name, self.plan.folder))
        except HostError:
            pass  # the switch itself will say what is wrong with the host

    def _switch(self, name: str, folder: str, run: str) -> Trial:
        longest_s = self.plan.longest_s
        try:
            return self.hosts.attempt(name, self.plan.request(name, folder, run), longest_s)
        except HostError as problem:
            try:
                return self.hosts.settled(name, run, longest_s)
            except HostError:
                raise problem from None

    def _confirm(self, name: str) -> None:
        self.journal.step("confirm", name)
        try:
            self.outcome.records[name] = self._confirmed(name)
        except HostError as problem:
            self._failed(name, problem.error)

    def _confirmed(self, name: str) -> Trial:
        try:
            return self.hosts.confirm(name, self.plan.run_on(name))
        except HostError:
            # the word may have arrived, or not: once more, and then the host's timer decides
            self.hosts.settled(name, self.plan.run_on(name), CONFIRM_S)
            return self.hosts.confirm(name, self.plan.run_on(name))

    # Back

    def _go_back(self) -> None:
        self.outcome.rolled_back = True
        self.emit(Step("more hosts failed than may; those that were moved go back"))
        Pool(20).map(self._undo, list(self.outcome.records))
        for name in self.outcome.errors:
            if name not in self.outcome.records:
                self._look_at(name)

    def _undo(self, name: str) -> None:
        trial = self.outcome.records[name]
        self.journal.step("back", name)
        try:
            if trial.state is TrialState.CONFIRMED:
                back = f"{self.plan.run_on(name)}-back"
                trial = self._switch(name, trial.before, back)
                if trial.state is TrialState.SERVING:
                    trial = self.hosts.confirm(name, back)
            elif trial.state is not TrialState.UNDONE:
                why = self._why_back(name)
                trial = self.hosts.undo(name, self.plan.run_on(name), why, 2 * self.plan.ready_s) or trial
            self.outcome.records[name] = trial
        except HostError as problem:
            self._failed(name, problem.error)
            self.outcome.left.add(name)

    def _why_back(self, name: str) -> str:
        error, cut_short = self.outcome.errors.get(name), self.outcome.cut_short
        if error is None and cut_short is not None:
            return f"the rollout was stopped by {cut_short.title}"
        return str(getattr(error, "why", None) or error or "another host of the rollout failed")

    def _look_at(self, name: str) -> None:
        """A host that failed without a word: on which version did it end?"""
        try:
            trial = self.hosts.settled(name, self.plan.run_on(name), SEEN_S)
        except HostError:
            self.outcome.left.add(name)
            return
        self.outcome.records[name] = trial
        if trial.state is not TrialState.UNDONE:
            self._undo(name)
