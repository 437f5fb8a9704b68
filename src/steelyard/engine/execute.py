"""Carries a plan out: wave after wave, each host at its own pace between the points where all must meet.

pyinfra runs every task on all hosts before the next one; here a slow host holds up the others of its wave only where
the deploy has a barrier or hosts take turns, and never those of another wave. After each task of each host the limit of
failures is looked at, so it holds for every kind of task. A task that fails takes its group with it, and its host where
it is in none.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from gevent.pool import Pool
from pyinfra.api.command import PyinfraCommand
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.host import Host
from pyinfra.api.operations import run_host_op
from pyinfra.api.state import StateStage
from pyinfra.context import ctx_host, ctx_state

from steelyard.api.barrier import barriers_of
from steelyard.api.fact_cache import invalidate_facts
from steelyard.api.host_error import HostError
from steelyard.api.host_report import FailedCommand, report_of
from steelyard.api.outcome import HostOutcome, is_unreachable, outcome_of
from steelyard.api.task_group import WHOLE_HOST, TaskGroup, group_of, is_lost, lose
from steelyard.errors import EngineFailed, NotRestarted, SteelyardError, TaskFailed
from steelyard.events import (
    APPLYING,
    HostEnded,
    RunStarted,
    TaskChanged,
    TaskEnded,
    TaskStarted,
    WaveStarted,
    progress_event,
)
from steelyard.interrupts.signals import HANDLER
from steelyard_host.causes.evidence import MARK

from .audit import Audit
from .plan import Plan, shown_command, split_title
from .run_ahead import RunAhead
from .run_turns import RunTurns
from .session import Session
from .turn_table import RunStopped, Unseen
from .waves import FailLimit


class Execution:
    """One apply. `finished` gets each host that is through, and whether without a failure; `unseen` asks gateways
    whether they see who came back from a turn.
    """

    def __init__(
        self,
        session: Session,
        limit: FailLimit,
        audit: Audit,
        finished: Callable[[str, bool], None] = lambda host, ok: None,
        unseen: Unseen = lambda servers: {},
    ) -> None:
        self.session, self.state, self.limit = session, session.state, limit
        self._audit, self._finished = audit, finished
        self.halted: SteelyardError | None = None  # set from outside: nothing further is begun
        self.running: dict[str, str] = {}  # host -> the title of its task
        self._order = list(self.state.get_op_order())
        self._turns = RunTurns(session, lambda: self._stopped, unseen)
        self._ahead = RunAhead(session, audit, lambda: self._stopped)
        self.skipped: set[str] = set()  # hosts on which something that was planned was not begun
        for name, error in session.errors.items():
            lose(self.state, name)
            if is_unreachable(error):
                limit.note(name)

    @property
    def returning(self) -> set[str]:
        """Hosts that bring back what does not serve: others may have to wait for them, so they come first."""
        return self._turns.returning

    def run(self, waves: Sequence[tuple[str, ...]]) -> Plan:
        """Execute wave by wave; return the plan of the tasks that changed something."""
        session, by_name = self.session, {host.name: host for host in self.session.hosts}
        done: dict[tuple[str, str], list[PyinfraCommand]] = {}
        for host in by_name.values():
            for op_hash, data in self.state.ops[host].items():
                done[host.name, op_hash] = []
                data.command_generator = self._keeping(data.command_generator, host.name, op_hash, done)
        self._done = done
        self.state.set_stage(StateStage.Execute)
        self.state.is_executing = True
        session.emit(RunStarted(len({name for names in waves for name in names if name in by_name}), APPLYING))
        with ctx_state.use(self.state):
            for number, names in enumerate(waves, start=1):
                wave = [by_name[name] for name in names if name in by_name]
                if self._stopped:
                    self.skipped.update(host.name for host in wave)
                    continue
                if len(waves) > 1:
                    session.emit(WaveStarted(number, len(waves), names))
                if wave:
                    self._wave(wave)
        session.forget_unknowns()
        session.commands.clear()
        session.commands.update({key: tuple(commands) for key, commands in done.items()})
        session.settle({host.name: session.host_plan(host, host.name in self.skipped) for host in self.state.inventory})
        return session.plan()

    @property
    def _stopped(self) -> bool:
        return self.limit.exceeded or self.halted is not None or HANDLER.first is not None

    def _wave(self, wave: list[Host]) -> None:
        self._turns.begin(host.name for host in wave)
        for host in wave:
            if self._pending(host):  # looked at before the lock was taken and before earlier waves
                invalidate_facts(host)
        left, segments = wave, list(self._segments())
        last = {host.name: self._last(host, segments) for host in wave}
        for number, segment in enumerate(segments):
            work = [op_hash for op_hash in segment if any(op_hash in self.state.ops[host] for host in left)]
            if work:
                self._segment(left, work, {name for name in last if last[name] == number})
                moved = {host.name for host in left if any(self._done.get((host.name, op_hash)) for op_hash in work)}
                for host in left:
                    if moved - {host.name} and self._pending(host):
                        invalidate_facts(host)  # what another host offers may be there only now
            left = [host for host in left if host in self.state.active_hosts and host.name not in self.skipped]
        for host in left:
            if last[host.name] is None:  # no task is for it
                self._through(host, host.name not in self.session.errors)

    def _last(self, host: Host, segments: Sequence[Sequence[str]]) -> int | None:
        """Return the number of the last segment that has a task for the host."""
        ops = self.state.ops[host]
        return next((n for n in range(len(segments) - 1, -1, -1) if any(op in ops for op in segments[n])), None)

    def _through(self, host: Host, ok: bool) -> None:
        changes = sum(1 for op_hash in self.state.ops[host] if self._done[host.name, op_hash])
        error = self.session.errors.get(host.name)
        outcome = HostOutcome.CHANGES if changes else HostOutcome.IN_SYNC
        self.session.emit(HostEnded(host.name, outcome if error is None else outcome_of(error), changes))
        self._finished(host.name, ok)

    def _pending(self, host: Host) -> bool:
        plan = self.session.host_plan(host)
        return bool(plan.tasks or plan.unknown)

    def _segments(self) -> Iterator[list[str]]:
        """Yield the tasks between two barriers; a task that pyinfra is to run in series is alone."""
        barriers, segment = barriers_of(self.state), list[str]()
        for op_hash in self._order:
            alone = self._side_by_side(op_hash) < self.state.config.PARALLEL
            if op_hash in barriers or alone:
                yield segment
                segment = []
            if alone:
                yield [op_hash]
            elif op_hash not in barriers:
                segment.append(op_hash)
        yield segment

    def _segment(self, hosts: list[Host], work: list[str], last: set[str]) -> None:
        """Run the tasks on the hosts, side by side; for those in `last` no other follows."""

        def one(host: Host) -> None:
            self._host(host, work)
            if host.name in last and host in self.state.active_hosts and host.name not in self.skipped:
                self._through(host, host.name not in self.session.errors)

        pool = Pool(min(self._side_by_side(work[0]), len(hosts)))
        for _ in pool.imap_unordered(one, hosts):
            pass

    def _side_by_side(self, op_hash: str) -> int:
        """Return on how many hosts at once a task runs. pyinfra gives each task its `PARALLEL` where nobody says."""
        given = self.state.get_op_meta(op_hash).global_arguments
        return 1 if given.get("_serial") else int(given.get("_parallel") or self.state.config.PARALLEL)

    def _host(self, host: Host, work: list[str]) -> None:
        """Run the tasks of one segment on one host, one after the other, until one fails that is in no group."""
        with ctx_host.use(host):
            self._tasks(host, work)
            if (error := self._ahead.end(host)) is not None:
                self._lost(host, None, error)

    def _tasks(self, host: Host, work: list[str]) -> None:
        for number, op_hash in enumerate(work):
            if op_hash not in self.state.ops[host]:
                continue
            group = group_of(self.state, host.name, op_hash)
            if group is not None and is_lost(self.state, host.name, group.name, *group.needs):
                lose(self.state, host.name, group.name)  # who needs it goes with it
                self._turns.ended(host.name, op_hash, well=False)
                continue
            try:
                error = self._ahead.begin(host, work[number:]) or self._task(host, op_hash)
            except RunStopped:
                self._skip(host)
                return
            self._turns.ended(host.name, op_hash, well=error is None)
            if error is not None and not self._lost(host, group, error):
                return

    def _skip(self, host: Host) -> None:
        self.skipped.add(host.name)
        self._turns.out(host.name)

    def _lost(self, host: Host, group: TaskGroup | None, error: SteelyardError) -> bool:
        """A task has failed. Return whether the host goes on: with tasks of other groups, where it can be talked to."""
        goes_on = group is not None and report_of(self.state, host).error is None
        lose(self.state, host.name, group.name if goes_on and group is not None else WHOLE_HOST)
        self.session.fail(host, error, goes_on)
        if not isinstance(error, NotRestarted):  # the one that it waited for is counted
            self.limit.note(host.name)
        if not goes_on:
            self._turns.out(host.name)
            self._through(host, False)
        return goes_on

    def _task(self, host: Host, op_hash: str) -> SteelyardError | None:
        """Carry a task out; return why it failed. Raises RunStopped where the run ended before it could begin."""
        title = " | ".join(split_title(self.state.op_meta[op_hash].names))
        self.session.emit(TaskStarted(host.name, title))
        self.running[host.name] = title
        report_of(self.state, host).on_progress = lambda said: self.session.emit(progress_event(host.name, said))
        try:
            return self._carried_out(host, op_hash, title)
        finally:
            del self.running[host.name]
            self.session.emit(TaskEnded(host.name, title))

    def _carried_out(self, host: Host, op_hash: str, title: str) -> SteelyardError | None:
        commands = self._done[host.name, op_hash]
        report_of(self.state, host).audit = partial(self._audit.hosts_line, title)
        try:
            ok = run_host_op(self.state, host, op_hash) and host not in self.state.failed_hosts
            error = None if ok else self._failure(host, title)
        except HostError as problem:
            error = problem.error
        except SteelyardError as raised:
            error = raised
        except PyinfraError:
            error = self._failure(host, title)
        if error is not None:
            self._audit.note(host.name, title + " (failed)", commands)
            commands.clear()  # begun, not done
            return error
        if commands:
            subjects = tuple(dict.fromkeys(shown_command(command).subject for command in commands))
            self.session.emit(TaskChanged(host.name, title, subjects))
            self._audit.note(host.name, title, commands)
        return None

    def _keeping(
        self, generator: Any, host: str, op_hash: str, done: dict[tuple[str, str], list[PyinfraCommand]]
    ) -> Callable[[], Iterator[PyinfraCommand]]:
        """Return the task's commands, each kept; one that needs the host's turn comes when it is that."""

        def commands() -> Iterator[PyinfraCommand]:
            for command in generator():
                self._turns.before(host, op_hash, command)
                done[host, op_hash].append(command)
                yield command

        return commands

    def _failure(self, host: Host, title: str) -> SteelyardError:
        report = report_of(self.state, host)
        if report.error is not None:
            return report.error
        command, ended, lines = report.failed or FailedCommand("a call", "failed", [])
        died = engine_failed(host.name, title, lines)
        if died is not None:
            report.failed = FailedCommand(command, ended, [line for line in lines if not line.startswith(MARK)])
            return died
        shown = f"`{command if len(command) < 200 else command[:197] + '...'}`"
        return TaskFailed(where=host.name, task=title, ended=ended, command=shown, mend=_mend(ended, bool(lines)))


def engine_failed(host: str, task: str, lines: Sequence[str]) -> EngineFailed | None:
    """Return the error that a command's last words tell the cause of; None without a cause, or with a torn one."""
    marked = next((line[len(MARK) :] for line in reversed(lines) if line.startswith(MARK)), "")
    try:
        cause = json.loads(marked)
        service, sentence, fix, code = (str(cause[name]) for name in ("service", "sentence", "fix", "code"))
    except (ValueError, LookupError, TypeError):
        return None
    return EngineFailed(where=host, task=task, service=service, cause=sentence, mend=fix, code=code)


def _mend(ended: str, said: bool) -> str:
    """What to do about a command that ended so: its words are shown above, where it had some."""
    if ended.startswith("did not end"):
        return "see on the host what it waits for, or raise `steelyard_command_timeout_s` if it only takes longer"
    if said:
        return "mend the cause shown above"
    return "it said nothing: run the command on the host as root, and mend what ends it"
