"""A rollout over its hosts, wave by wave: try, gate, confirm; and back where more fail than may. Knows no connection.

`ask` talks to a host's helper; `settled` waits for one that was lost on the way. Both raise HostProblem.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from gevent.pool import Pool

from steelyard.engine.waves import FailLimit, Share, waves_of
from steelyard.errors import Exit, SteelyardError, SwitchFailed
from steelyard.events import Emit, Step, WaveStarted
from steelyard.problem import HostProblem

from .journal import Journal

WARM_S = 600


class Hosts(Protocol):
    """The helpers of a rollout's hosts."""

    def ask(self, host: str, *words: str, stdin: str | None = None, seconds: float = 60, idle: bool = False) -> dict[str, Any]:
        """The helper's answer. `idle`: what serves goes before it."""
        ...

    def settled(self, host: str, run: str, seconds: float) -> dict[str, Any]:
        """The record of the switch `run`, after the connection was lost; waits until it is not being tried any more."""
        ...


@dataclass(frozen=True)
class Move:
    """What is moved where: the service `service` of model `project` to version `version`, in place or by a restart."""

    run: str
    alias: str
    service: str
    root: str
    project: str
    version: str
    strategies: Mapping[str, str]  # host to strategy
    prompts: tuple[dict[str, Any], ...] = ()
    ready_s: int = 900
    drain_s: int = 60
    undo_s: int = 300

    @property
    def folder(self) -> str:
        return f"{self.root}/{self.project}/{self.version}"

    def spec(self, host: str, folder: str, run: str) -> str:
        """What the helper is told to try."""
        return json.dumps({
            "run": run, "service": self.service, "folder": folder, "strategy": self.strategies[host], "prompts": self.prompts,
            "ready_s": self.ready_s, "drain_s": self.drain_s, "undo_s": self.undo_s,
        })  # fmt: skip


@dataclass
class Outcome:
    """What became of each host: `records` are the helpers' own, `errors` what went wrong. `left`: state that nobody knows."""

    records: dict[str, dict[str, Any]] = field(default_factory=dict)
    errors: dict[str, SteelyardError] = field(default_factory=dict)
    rolled_back: bool = False
    left: set[str] = field(default_factory=set)

    @property
    def exit(self) -> Exit:
        if self.left:
            return Exit.HOST_FAILED
        return Exit.ROLLED_BACK if self.rolled_back else Exit.HOST_FAILED if self.errors else Exit.DONE


class Rollout:
    """One run. `gate` is asked after each wave has switched and before it is confirmed; a sentence refuses the wave."""

    def __init__(
        self, move: Move, hosts: Hosts, journal: Journal, emit: Emit, gate: Callable[[Sequence[str]], str | None]
    ) -> None:
        self.move, self.hosts, self.journal, self.emit, self.gate = move, hosts, journal, emit, gate
        self.outcome = Outcome()

    def carry_out(self, names: Sequence[str], serial: Share | None, allowed: Share, first: int = 0) -> Outcome:
        """All waves, or none: where more hosts fail than may, those that were moved are moved back. `first`: hosts of a wave before all."""
        waves, limit = [*waves_of(names[:first], None), *waves_of(names[first:], serial)], FailLimit(len(names), allowed)
        for number, wave in enumerate(waves, start=1):
            self.emit(WaveStarted(number, len(waves), wave))
            Pool(len(wave)).map(self._try, wave)
            switched = [name for name in wave if name not in self.outcome.errors]
            refused = self.gate(switched) if switched else None
            if refused is not None:
                for name in switched:
                    self._failed(name, SwitchFailed(where=name, why=refused))
            else:
                Pool(len(wave)).map(self._confirm, switched)
            for name in self.outcome.errors:
                limit.note(name)
            if limit.exceeded:
                self._back()
                break
        self.journal.step("end")
        return self.outcome

    def _failed(self, name: str, error: SteelyardError) -> None:
        self.outcome.errors[name] = error

    def _try(self, name: str) -> None:
        move = self.move
        self._warm(name)
        self.journal.step("try", name)
        self.emit(Step(f"{name}: {move.version} by {move.strategies[name]}"))
        try:
            found = self._switched(name, move.folder, move.run)
        except HostProblem as problem:
            self._failed(name, problem.error)
            return
        self.outcome.records[name] = found
        if found["state"] not in ("serving", "confirmed"):
            self._failed(name, SwitchFailed(where=name, why=found["why"]))

    def _warm(self, name: str) -> None:
        """Into the page cache while the old version still answers; one that does not fit there is read when it is needed."""
        self.journal.step("warm", name)
        try:
            self.hosts.ask(name, "store-warm", self.move.folder, str(WARM_S), seconds=WARM_S + 60, idle=True)
        except HostProblem:
            pass  # the switch itself will say what is wrong with the host

    def _switched(self, name: str, folder: str, run: str) -> dict[str, Any]:
        longest = 3 * self.move.ready_s + self.move.drain_s + 60
        try:
            return self.hosts.ask(name, "switch-try", stdin=self.move.spec(name, folder, run), seconds=longest)
        except HostProblem as problem:
            try:
                return self.hosts.settled(name, run, longest)
            except HostProblem:
                raise problem from None

    def _confirm(self, name: str) -> None:
        self.journal.step("confirm", name)
        try:
            self.outcome.records[name] = self._confirmed(name, self.move.run)
        except HostProblem as problem:
            self._failed(name, problem.error)

    def _confirmed(self, name: str, run: str) -> dict[str, Any]:
        words = ("switch-confirm", self.move.root, self.move.project, self.move.service, run)
        try:
            return self.hosts.ask(name, *words)
        except HostProblem:
            # the word may have arrived, or not: once more, and then the host's timer decides
            self.hosts.settled(name, run, 60)
            return self.hosts.ask(name, *words)

    # Back

    def _back(self) -> None:
        self.outcome.rolled_back = True
        self.emit(Step("more hosts failed than may; those that were moved go back"))
        Pool(20).map(self._undo, list(self.outcome.records))
        for name in self.outcome.errors:
            if name not in self.outcome.records:
                self._seen(name)

    def _undo(self, name: str) -> None:
        found = self.outcome.records[name]
        self.journal.step("back", name)
        try:
            if found["state"] == "confirmed":
                back = f"{self.move.run}-back"
                found = self._switched(name, found["before"], back)
                if found["state"] == "serving":
                    found = self._confirmed_back(name, back)
            elif found["state"] != "undone":
                error = self.outcome.errors.get(name)
                why = str(getattr(error, "why", None) or error or "another host of the rollout failed")
                words = ("switch-undo", self.move.service, "--run", self.move.run, "--why", why)
                found = self.hosts.ask(name, *words, seconds=2 * self.move.ready_s)
            self.outcome.records[name] = found
        except HostProblem as problem:
            self._failed(name, problem.error)
            self.outcome.left.add(name)

    def _confirmed_back(self, name: str, run: str) -> dict[str, Any]:
        return self.hosts.ask(name, "switch-confirm", self.move.root, self.move.project, self.move.service, run)

    def _seen(self, name: str) -> None:
        """A host that failed without a word: on which version did it end?"""
        try:
            record = self.hosts.settled(name, self.move.run, 10)
        except HostProblem:
            self.outcome.left.add(name)
            return
        self.outcome.records[name] = record
        if record["state"] != "undone":
            self._undo(name)
