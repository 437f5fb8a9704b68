"""Schedules of runs that want one lock, over keepers that fail: what could happen, in an order drawn by a number.

Runs decide by the product's own code (`lock_quorum`, `RunOwner.is_gone`), keepers are those of `lock_keeper`. After
each event nobody may hold what another holds: a run holds from the moment it is told so until it lets go, is killed, or
its own clock says that its time is over.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from random import Random

from support.lock_keeper import HELD, LOST, SOUND, Broken, Keeper, Script, Steps

from steelyard.engine.lock_members import keepers_of
from steelyard.engine.lock_quorum import KeeperAnswer, Lease, refusal
from steelyard.engine.lock_script import KeptLock, LockState, kept_locks, request_of
from steelyard.engine.run_owner import ProcessPlace, RunOwner

TTL_S = 600
MOST_EVENTS = 400


@dataclass(frozen=True)
class Gullible:
    """Ways in which a run could believe too much, each of which the schedules have to find."""

    any_keeper: bool = False  # one is enough
    host_names: bool = False  # a run of the same host name is gone where its number is not in use
    boots: bool = False  # a run of another boot of a machine with this id is gone
    counts_from_answer: bool = False
    lost_is_granted: bool = False


SENSIBLE = Gullible()


class Machine:
    """A controller. `ident` may be another's, and so may `host`; no boot is. `drift`: of its clock."""

    def __init__(self, ident: str, host: str, boot: str, drift: float) -> None:
        self.ident, self.host, self.boot, self.drift = ident, host, boot, drift
        self.starts: dict[tuple[str, int], str] = {}  # by PID namespace and number


class Ask:
    """One request on its way: delivered or not, step by step on its keeper, answered or not."""

    def __init__(self, script: Script, delivered: bool, heard: bool, asked_at: float) -> None:
        self.script, self.keeper, self.heard, self.asked_at = script, script.keeper, heard, asked_at
        self.steps: Steps | None = script.steps() if delivered else None
        self.told = not (delivered and heard)  # the run waits no more: it counts the keeper as silent
        self.status: int | None = None
        self.lines: list[str] = []
        self.begun = False

    def step(self, does: bool) -> None:
        """Go one command further."""
        assert self.steps is not None
        try:
            if self.begun:
                self.steps.send(does)
            else:
                next(self.steps)
                self.begun = True
        except StopIteration as ended:
            self.status, self.lines = ended.value
            self.end()

    def end(self) -> None:
        """It is over: by itself, or killed with whoever ran it."""
        self.script.end()
        self.steps, self.told = None, True


class Run:
    """One run, from its first request to its end; `steps` goes on whenever it is its turn."""

    def __init__(self, schedule: Schedule, machine: Machine, namespace: str, number: int, name: str) -> None:
        self.schedule, self.machine, self.name = schedule, machine, name
        self.place = ProcessPlace(machine.ident, machine.boot, namespace)
        start = str(schedule.count())
        machine.starts[namespace, number] = start
        self.owner = RunOwner(
            run=f"run-{start}",
            user="anna",
            host=machine.host,
            pid=number,
            boot=machine.boot,
            process_start=start,
            since="now",
            command="apply",
            machine=machine.ident,
            pid_namespace=namespace,
        )
        self.lease = Lease(len(schedule.keepers), TTL_S)
        self.holding, self.alive = False, True
        self.asks: list[Ask] = []
        self.steps = self._steps()

    @property
    def clock(self) -> float:
        """Seconds since boot, by its own machine."""
        return self.schedule.time * self.machine.drift

    @property
    def believes(self) -> bool:
        """Whether it would begin something now."""
        return self.alive and self.holding and self.clock < self.lease.until

    def kill(self) -> None:
        """End it; what it has sent goes on."""
        self.alive = self.holding = False
        self.machine.starts.pop((self.place.pid_namespace, self.owner.pid), None)

    def _ask(self, verb: str, run: str, keepers: list[Keeper], stdin: str = "") -> Generator[None, None, list[Ask]]:
        self.asks = [self.schedule.ask(keeper, verb, run, self.name, stdin, self.clock) for keeper in keepers]
        while not all(ask.told for ask in self.asks):
            yield
        return self.asks

    def _answer(self, ask: Ask) -> KeeperAnswer:
        name, trusting = ask.keeper.name, self.schedule.gullible
        if ask.status == 0 or (trusting.lost_is_granted and not ask.heard):
            self.lease.granted(name, self.clock if trusting.counts_from_answer else ask.asked_at)
            return KeeperAnswer(name)
        if ask.status != HELD or not ask.heard:
            return KeeperAnswer(name, silent="lost")
        unread = KeptLock(name, self.name, LockState.TORN, False, 0, 0, None)
        return KeeperAnswer(name, tuple(kept_locks(name, ask.lines)) or (unread,))

    def _steps(self) -> Generator[None, None, None]:
        keepers, words = self.schedule.keepers, request_of(self.owner)
        answers = {}
        for ask in (yield from self._ask("take", self.owner.run, keepers, words)):
            answers[ask.keeper.name] = self._answer(ask)
        owners = {lock.owner for answer in answers.values() for lock in answer.locks if lock.owner is not None}
        gone = [owner.run for owner in owners if self._is_gone(owner)]
        if self._refused(answers) and gone:
            again = [keeper for keeper in keepers if not answers[keeper.name].granted]
            for run in gone:
                yield from self._ask("release", run, again)
            for ask in (yield from self._ask("take", self.owner.run, again, words)):
                answers[ask.keeper.name] = self._answer(ask)
        if self._refused(answers):
            yield from self._ask("release", self.owner.run, keepers)
            return
        self.holding = True
        self.schedule.held += 1
        while self.clock < self.lease.until and not self.schedule.draw(0.05):
            yield
            if self.schedule.draw(0.1):
                for ask in (yield from self._ask("renew", self.owner.run, keepers)):
                    if ask.heard and ask.status == 0:
                        self.lease.granted(ask.keeper.name, ask.asked_at)
                    elif ask.heard and ask.status == LOST:
                        self.lease.taken_away(ask.keeper.name)
        self.holding = False
        yield from self._ask("release", self.owner.run, keepers)

    def _refused(self, answers: dict[str, KeeperAnswer]) -> bool:
        if self.schedule.gullible.any_keeper:
            granted = [name for name, answer in answers.items() if answer.granted]
            for other in answers if granted else ():
                self.lease.granted(other, self.clock)
            return not granted
        return refusal(list(answers.values()), "site") is not None

    def _is_gone(self, owner: RunOwner) -> bool:
        trusting, starts = self.schedule.gullible, self.machine.starts
        namespace = self.place.pid_namespace
        if trusting.host_names:
            return owner.host == self.machine.host and starts.get((namespace, owner.pid)) != owner.process_start
        if trusting.boots and owner.machine == self.machine.ident and owner.boot != self.machine.boot:
            return True
        return owner.is_gone(self.place, lambda number: starts.get((namespace, number), ""))


class Schedule:
    """One order of events, from its number. `held` counts the times that somebody got the lock."""

    def __init__(self, number: int, broken: Broken = SOUND, gullible: Gullible = SENSIBLE) -> None:
        self.random, self.gullible = Random(number), gullible
        self.time, self.held, self._count = 0.0, 0, 100
        members = keepers_of([f"h{place}" for place in range(self.random.choice((1, 2, 3, 4, 5)))])
        self.born = dict.fromkeys(members, 0.0)
        self.keepers = [Keeper(name, f"{name}-boot-1", broken=broken) for name in members]
        self.stepped = dict.fromkeys(members, 0)  # how far each wall clock was set
        self.drifts = {name: self.random.uniform(0.999, 1.001) for name in members}
        self.offline: set[str] = set()
        clones = self.random.random() < 0.5
        self.machines = [
            Machine("id-0" if clones else f"id-{index}", "ops" if clones else f"ops-{index}", f"boot-{index}", drift)
            for index, drift in enumerate((self.random.uniform(0.999, 1.001), self.random.uniform(0.999, 1.001)))
        ]
        self.asks: list[Ask] = []
        self.runs: list[Run] = []
        self._pass(0)
        for _ in range(self.random.choice((2, 2, 3))):
            self._begin()

    def count(self) -> int:
        self._count += 1
        return self._count

    def draw(self, chance: float) -> bool:
        return self.random.random() < chance

    def ask(self, keeper: Keeper, verb: str, run: str, name: str, stdin: str, clock: float) -> Ask:
        delivered = keeper.name not in self.offline and not self.draw(0.04)
        made = Ask(Script(keeper, verb, run, TTL_S, name, stdin), delivered, not self.draw(0.05), clock)
        if delivered:
            self.asks.append(made)
        return made

    def double(self) -> tuple[str, str] | None:
        """Play it; return the two runs that held the lock at once, None where there were none."""
        for _ in range(MOST_EVENTS):
            self._event()
            believers = [run for run in self.runs if run.believes]
            for at, one in enumerate(believers):
                for other in believers[at + 1 :]:
                    if "lock" in (one.name, other.name) or one.name == other.name:
                        return one.owner.run, other.owner.run
            if not self.asks and not any(run.alive for run in self.runs):
                break
        return None

    def _event(self) -> None:
        chance = self.random.random()
        if chance < 0.60 and self.asks:
            ask = self.random.choice(self.asks)
            if self.draw(0.01):
                ask.end()  # its shell is killed, between any two commands
            for _ in range(self.random.choice((1, 1, 2, 5, 20))):
                if ask.steps is not None:
                    ask.step(not self.draw(0.005))
            if ask.steps is None:
                self.asks.remove(ask)
            self._pass(self.random.random() * 0.1)
        elif chance < 0.90:
            self._go_on()
        elif chance < 0.97:
            self._pass(self.random.choice((5, 60, 140, 200, 400, 700)))
        else:
            self._fault()

    def _go_on(self) -> None:
        living = [run for run in self.runs if run.alive]
        if not living:
            return
        run = self.random.choice(living)
        try:
            next(run.steps)
        except StopIteration:
            run.kill()
            if len(self.runs) < 6:
                self._begin()

    def _fault(self) -> None:
        fault: Callable[[], None] = self.random.choice(
            (self._kill, self._reboot_keeper, self._set_clock, self._reboot_controller, self._go_offline, self._tear)
        )
        fault()

    def _begin(self) -> None:
        machine = self.random.choice(self.machines)
        name = self.random.choice(("lock", "lock", "lock", "lock.a", "lock.b"))
        namespace = self.random.choice(("ns-1", "ns-1", "ns-2"))
        free = [number for number in (1, 2, 3, 4, 5, 6, 7) if (namespace, number) not in machine.starts]
        if free:
            self.runs.append(Run(self, machine, namespace, free[0], name))

    def _kill(self) -> None:
        living = [run for run in self.runs if run.alive]
        if living:
            self.random.choice(living).kill()
        if len(self.runs) < 6:
            self._begin()

    def _reboot_controller(self) -> None:
        machine = self.random.choice(self.machines)
        for run in self.runs:
            if run.alive and run.machine is machine:
                run.kill()
        machine.boot = f"boot-{self.count()}"
        if len(self.runs) < 6:
            self._begin()

    def _reboot_keeper(self) -> None:
        keeper = self.random.choice(self.keepers)
        for ask in [ask for ask in self.asks if ask.keeper is keeper]:
            ask.heard = False
            ask.end()
            self.asks.remove(ask)
        keeper.mutex = None
        for name in {*keeper.places, *keeper.durable}:  # of what was not synced, anything may be there
            if self.draw(0.5):
                keeper.places.pop(name, None)
                if name in keeper.durable:
                    keeper.places[name] = keeper.durable[name]
        keeper.durable = dict(keeper.places)
        keeper.boot, self.born[keeper.name] = f"{keeper.name}-boot-{self.count()}", self.time
        self._pass(self.random.choice((0, 1, 60)))

    def _set_clock(self) -> None:
        self.stepped[self.random.choice(self.keepers).name] += self.random.choice((-86400, -700, -5, 5, 700, 86400))
        self._pass(0)

    def _go_offline(self) -> None:
        name = self.random.choice(self.keepers).name
        self.offline ^= {name}

    def _tear(self) -> None:
        """A bad disk: a record that cannot be read any more. Whoever has it does not know."""
        keeper = self.random.choice(self.keepers)
        if keeper.places and self.draw(0.2):
            name = self.random.choice(sorted(keeper.places))
            keeper.places[name] = keeper.durable[name] = replace(keeper.places[name], record=None, torn=True)

    def _pass(self, seconds: float) -> None:
        self.time += seconds
        for keeper in self.keepers:
            drifted = self.drifts[keeper.name]
            # booted long ago, or in this schedule
            before = 5000 if self.born[keeper.name] == 0 else 0
            keeper.up = keeper.age = int((self.time - self.born[keeper.name]) * drifted) + before
            keeper.wall = 1_700_000_000 + int(self.time) + self.stepped[keeper.name]
