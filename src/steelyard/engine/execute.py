"""Carries a plan out: wave after wave, each host at its own pace between the points where all must meet.

pyinfra runs every task on all hosts before the next one; here a slow host holds up the others of its wave only where
the deploy says that hosts meet (`barriers`), and never those of another wave. After each task of each host the limit of
failures is looked at, so it holds for every kind of task.
"""

from __future__ import annotations

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

from steelyard.barriers import barriers_of
from steelyard.errors import SteelyardError, TaskFailed
from steelyard.events import TaskChanged, TaskStarted, WaveStarted
from steelyard.look_again import look_again
from steelyard.problem import HostProblem
from steelyard.refusal import FAILED_BY

from .audit import Audit
from .plan import Plan, is_unreachable, planned, split_title
from .session import AT_ONCE, Session
from .waves import FailLimit


class Execution:
    """One apply. `finished` is told of each host that is through, and whether well."""

    def __init__(
        self,
        session: Session,
        limit: FailLimit,
        audit: Audit,
        finished: Callable[[str, bool], None] = lambda host, well: None,
    ) -> None:
        self.session, self.state, self.limit = session, session.state, limit
        self._audit, self._finished = audit, finished
        self.halted: SteelyardError | None = None  # set from outside: nothing further is begun
        self._order = list(self.state.get_op_order())
        self._index = {op_hash: number for number, op_hash in enumerate(self._order, start=1)}
        self._shown = 0
        self.skipped: set[str] = set()  # hosts on which something that was planned was not begun
        for name, error in session.errors.items():
            if is_unreachable(error):
                limit.note(name)

    def run(self, waves: Sequence[tuple[str, ...]]) -> Plan:
        """Execute wave by wave; the result holds the tasks that changed something."""
        session, by_name = self.session, {host.name: host for host in self.session.hosts}
        done: dict[tuple[str, str], list[PyinfraCommand]] = {}
        for host in by_name.values():
            for op_hash, data in self.state.ops[host].items():
                done[host.name, op_hash] = []
                data.command_generator = _keeping(data.command_generator, done[host.name, op_hash])
        self._done = done
        self.state.set_stage(StateStage.Execute)
        self.state.is_executing = True
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
        return self.limit.exceeded or self.halted is not None

    def _wave(self, wave: list[Host]) -> None:
        for host in wave:
            if self._pending(host):  # looked at before the lock was taken and before earlier waves
                look_again(host)
        left = wave
        for segment in self._segments():
            work = [op_hash for op_hash in segment if any(op_hash in self.state.ops[host] for host in left)]
            if work:
                self._segment(left, work)
                moved = {host.name for host in left if any(self._done.get((host.name, op_hash)) for op_hash in work)}
                for host in left:
                    if moved - {host.name} and self._pending(host):
                        look_again(host)  # what another host offers may be there only now
            left = [host for host in left if host.name not in self.session.errors and host.name not in self.skipped]
        for host in left:
            self._finished(host.name, True)

    def _pending(self, host: Host) -> bool:
        found = self.session.host_plan(host)
        return bool(found.tasks or found.unknown)

    def _segments(self) -> Iterator[list[str]]:
        """Tasks between two points where hosts meet; a task that pyinfra is told to run in series is alone."""
        barriers, segment = barriers_of(self.state), list[str]()
        for op_hash in self._order:
            given = self.state.get_op_meta(op_hash).global_arguments
            alone = bool(given.get("_serial") or given.get("_parallel"))
            if op_hash in barriers or alone:
                yield segment
                segment = []
            if alone:
                yield [op_hash]
            elif op_hash not in barriers:
                segment.append(op_hash)
        yield segment

    def _segment(self, hosts: list[Host], work: list[str]) -> None:
        given = self.state.get_op_meta(work[0]).global_arguments
        side_by_side = 1 if given.get("_serial") else given.get("_parallel") or AT_ONCE
        pool = Pool(min(int(side_by_side), len(hosts)))
        for _ in pool.imap_unordered(lambda host: self._host(host, work), hosts):
            pass

    def _host(self, host: Host, work: list[str]) -> None:
        """The tasks of one segment on one host, one after the other, until one fails."""
        with ctx_host.use(host):
            for op_hash in work:
                if op_hash not in self.state.ops[host]:
                    continue
                if self._stopped:
                    self.skipped.add(host.name)
                    return
                if not self._task(host, op_hash):
                    self.limit.note(host.name)
                    self._finished(host.name, False)
                    return

    def _task(self, host: Host, op_hash: str) -> bool:
        title = " | ".join(split_title(self.state.op_meta[op_hash].names))
        if self._index[op_hash] > self._shown:
            self._shown = self._index[op_hash]
            self.session.emit(TaskStarted(title, self._shown, len(self._order)))
        commands = self._done[host.name, op_hash]
        host.connector.audit = partial(self._audit.hosts_line, title)  # type: ignore[attr-defined]
        try:
            well = run_host_op(self.state, host, op_hash) and host not in self.state.failed_hosts
            error = None if well else self._failure(host, title)
        except HostProblem as problem:
            error = problem.error
        except SteelyardError as raised:
            error = raised
        except PyinfraError:
            error = self._failure(host, title)
        if error is not None:
            self._audit.note(host.name, title + " (failed)", commands)
            commands.clear()  # begun, not done
            self.session.fail(host, error)
            return False
        if commands:
            subjects = tuple(dict.fromkeys(planned(command).subject for command in commands))
            self.session.emit(TaskChanged(host.name, title, subjects))
            self._audit.note(host.name, title, commands)
        return True

    def _failure(self, host: Host, title: str) -> SteelyardError:
        problem = getattr(host.connector, "problem", None) or getattr(host, FAILED_BY, None)
        if isinstance(problem, SteelyardError):
            return problem
        command, ended, _ = getattr(host.connector, "last_failure", None) or ("a call", "failed", [])
        shown = f"`{command if len(command) < 200 else command[:197] + '...'}`"
        return TaskFailed(where=host.name, task=title, ended=ended, command=shown)


def _keeping(generator: Any, kept: list[PyinfraCommand]) -> Any:
    def commands() -> Iterator[PyinfraCommand]:
        for command in generator():
            kept.append(command)
            yield command

    return commands
