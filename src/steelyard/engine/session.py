"""One run of one deploy file over selected hosts: connect, plan, apply. pyinfra's API with unmodified operations.

Traps this file knows (facts: pyinfra.md section 2): with `is_cli` off, pyinfra orders operations by their number on
each host and mixes up hosts with different tasks, so it is switched on and the call stack gives the order; an
exception in one host's deploy ends the run for all, so each host's is caught here; a failed fact goes on with a default.
gevent's patches must come before paramiko: `steelyard.engine.patched` is imported by the commands first.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import CodeType
from typing import Any

import gevent
import pyinfra
from pyinfra.api.command import PyinfraCommand
from pyinfra.api.config import Config
from pyinfra.api.exceptions import FactProcessError, PyinfraError
from pyinfra.api.host import Host
from pyinfra.api.inventory import Inventory
from pyinfra.api.operations import run_ops
from pyinfra.api.state import BaseStateCallback, State, StateStage
from pyinfra.connectors.base import BaseConnector
from pyinfra.context import ctx_config, ctx_host, ctx_state

from steelyard.errors import DeployBroken, FactFailed, HostUnreachable, SteelyardError, TaskFailed
from steelyard.events import Connecting, Emit, HostFailed, Planning, TaskChanged, TaskStarted, ignore
from steelyard.inventory.fleet import Fleet
from steelyard.inventory.pyinfra_file import host_data
from steelyard.problem import HostProblem
from steelyard.refusal import FAILED_BY
from steelyard.site import Site
from steelyard.unknowns import Unknown

from .plan import HostPlan, HostTraffic, Plan, planned, split_title, task_of
from .quick import quicken, quicken_host


class Session:
    """Use as a context manager: connections are closed at the end, whatever happened.

    `connector` is how hosts are reached; whoever opens the session brings it, so the engine knows none.
    """

    def __init__(
        self,
        fleet: Fleet,
        site: Site,
        names: tuple[str, ...],
        deploy: Path | None,
        connector: type[BaseConnector],
        emit: Emit = ignore,
    ) -> None:
        self.emit = emit
        self._unknowns: dict[str, list[Unknown]] = {name: [] for name in names}
        self._errors: dict[str, SteelyardError] = {}
        self._words: dict[str, tuple[str, ...]] = {}
        self._site = site
        self._commands: dict[tuple[str, str], tuple[PyinfraCommand, ...]] = {}
        _quiet_pyinfra()
        quicken()
        names_data = [(name, self._data(fleet, name)) for name in names]
        # a host is in the run if selected, but knows every group it is in
        groups: dict[str, Any] = {
            group: ([name for name in members if name in names], {}) for group, members in fleet.groups.items()
        }
        inventory = Inventory((names_data, {}), **{group: value for group, value in groups.items() if group != "all"})
        for host in inventory:
            host.connector_cls = connector
            quicken_host(host)
        config = Config(CONNECT_TIMEOUT=15)
        self.state = State(check_for_changes=False)
        self.state.current_deploy_filename = str(deploy) if deploy else "no deploy"
        self.state.init(inventory, config)
        self.state.cwd = str(deploy.parent) if deploy else None
        self._deploy = deploy

    def _data(self, fleet: Fleet, name: str) -> dict[str, Any]:
        return {
            **host_data(fleet.host(name)),
            "site": self._site,
            "file_unknown": self._unknowns[name].append,
            "emit": self.emit,
        }

    def __enter__(self) -> Session:
        pyinfra.is_cli = True
        return self

    def __exit__(self, *_: object) -> None:
        for host in self.state.activated_hosts:
            host.connector.disconnect()
        pyinfra.is_cli = False

    @property
    def hosts(self) -> list[Host]:
        """Hosts that are connected and have not failed, in inventory order."""
        return [host for host in self.state.inventory if host in self.state.active_hosts and host.name not in self._errors]

    def connect(self) -> None:
        """Connect to every host at once; those that cannot be reached are noted and left out."""
        hosts = list(self.state.inventory)
        self.emit(Connecting(len(hosts)))
        self.state.set_stage(StateStage.Connect)
        with ctx_state.use(self.state):
            gevent.joinall([self.state.pool.spawn(self._connect, host) for host in hosts], raise_error=True)

    def _connect(self, host: Host) -> None:
        try:
            host.connect(show_errors=False, raise_exceptions=True)
            self.state.activate_host(host)
        except HostProblem as problem:
            self.fail(host, problem.error)
        except PyinfraError as error:
            self.fail(host, HostUnreachable(where=host.name, why=str(error), address=host.name))

    def fail(self, host: Host, error: SteelyardError) -> None:
        """Take a host out of the run, with its last words."""
        *_, words = getattr(host.connector, "last_failure", None) or ("", [])
        self._errors[host.name] = error
        self._words[host.name] = tuple(words[-20:])
        self.emit(HostFailed(host.name, error, self._words[host.name]))

    def prepare(self) -> None:
        """Run the deploy file once per host, all at once: reads facts, changes nothing."""
        assert self._deploy is not None
        try:
            code = compile(self._deploy.read_text(), str(self._deploy), "exec")
        except (SyntaxError, ValueError) as error:
            where = f"{self._deploy}:{getattr(error, 'lineno', None) or 1}"
            raise DeployBroken(where=where, why=f"{type(error).__name__}: {error}") from error
        self.emit(Planning(len(self.hosts)))
        self.state.set_stage(StateStage.Prepare)
        with ctx_state.use(self.state):
            work = [self.state.pool.spawn(self._prepare, host, code) for host in self.hosts]
            gevent.joinall(work, raise_error=True)

    def _prepare(self, host: Host, code: CodeType) -> None:
        try:
            with ctx_config.use(self.state.config.copy()), ctx_host.use(host):
                exec(code, {"__file__": str(self._deploy), "__name__": "__deploy__"})
                for op_hash in host.op_hash_order:
                    self._walk(host, op_hash)
        except HostProblem as problem:
            self.fail(host, problem.error)
        except SteelyardError as error:
            self.fail(host, error)
        except PyinfraError:
            self.fail(host, self._fact_failed(host))
        except Exception as error:
            line = _line_in(self._deploy, error)
            if line is None:
                raise  # not the deploy file's own doing: ours
            raise DeployBroken(where=f"{self._deploy}:{line}", why=f"{type(error).__name__}: {error}") from error
        else:
            if host in self.state.failed_hosts:
                self.fail(host, self._fact_failed(host))

    def _walk(self, host: Host, op_hash: str) -> None:
        """Run the operation's generator to its end without executing anything, so that its commands are known."""
        data = self.state.ops[host][op_hash]
        self._commands[host.name, op_hash] = tuple(data.command_generator())

    def _fact_failed(self, host: Host) -> SteelyardError:
        connector = host.connector
        problem = getattr(connector, "problem", None)
        if isinstance(problem, SteelyardError):
            return problem
        command, _, words = getattr(connector, "last_failure", None) or ("a fact", "", ["no answer"])
        return FactFailed(where=host.name, fact=f"`{command[:120]}`", why=words[-1] if words else "no output")

    def plan(self) -> Plan:
        """The plan of every selected host, after `prepare`."""
        return Plan(tuple(self._host_plan(host) for host in self.state.inventory))

    def _host_plan(self, host: Host) -> HostPlan:
        tasks, in_sync = [], 0
        for op_hash in host.op_hash_order:
            commands = self._commands.get((host.name, op_hash), ())
            if commands:
                tasks.append(task_of(self.state.op_meta[op_hash].names, commands))
            else:
                in_sync += 1
        return HostPlan(
            host.name,
            tuple(tasks),
            in_sync,
            tuple(sorted(set(self._unknowns[host.name]))),
            self._errors.get(host.name),
            self._words.get(host.name, ()),
            traffic_of(host),
        )

    def apply(self) -> Plan:
        """Execute what `prepare` found, task by task over all hosts. The result holds the tasks that changed something."""
        done: dict[tuple[str, str], list[PyinfraCommand]] = {}
        for host in self.hosts:
            for op_hash, data in self.state.ops[host].items():
                kept = done.setdefault((host.name, op_hash), [])
                data.command_generator = _keeping(data.command_generator, kept)
        for host in self.state.inventory:
            if host.name in self._errors:
                self.state.active_hosts.discard(host)
        self.state.add_callback_handler(_Reporter(self, done))
        self.state.set_stage(StateStage.Execute)
        try:
            if self.hosts:
                run_ops(self.state)
        except PyinfraError:
            pass  # "No hosts remaining!": each host's own failure is reported
        for host in self.state.failed_hosts:
            if host.name not in self._errors:
                self.fail(host, self._fact_failed(host))
        for filed in self._unknowns.values():
            filed.clear()  # what the plan could not know has happened
        self._commands.clear()
        self._commands.update({key: tuple(commands) for key, commands in done.items()})
        return self.plan()

    def facts(self, fact: type[Any], **arguments: Any) -> dict[str, Any]:
        """One fact of every connected host, asked at once; hosts that fail are noted and left out."""
        found: dict[str, Any] = {}

        def ask(host: Host) -> None:
            try:
                with ctx_host.use(host):
                    found[host.name] = host.get_fact(fact, _sudo=bool(host.data.get("_sudo")), **arguments)
            except HostProblem as problem:
                self.fail(host, problem.error)
            except (PyinfraError, FactProcessError):
                self.fail(host, self._fact_failed(host))

        self.state.set_stage(StateStage.Prepare)
        with ctx_state.use(self.state):
            gevent.joinall([self.state.pool.spawn(ask, host) for host in self.hosts], raise_error=True)
        return {name: value for name, value in found.items() if name not in self._errors}

    @property
    def errors(self) -> dict[str, SteelyardError]:
        return dict(self._errors)


class _Reporter(BaseStateCallback):
    """Turns pyinfra's callbacks into our events."""

    def __init__(self, session: Session, done: dict[tuple[str, str], list[PyinfraCommand]]) -> None:
        self.session, self.done = session, done
        self.order = {op_hash: number for number, op_hash in enumerate(session.state.get_op_order(), start=1)}

    def operation_start(self, state: State, op_hash: str) -> None:  # type: ignore[override]
        title = " | ".join(split_title(state.op_meta[op_hash].names))
        self.session.emit(TaskStarted(title, self.order.get(op_hash, 0), len(self.order)))

    def operation_host_success(self, state: State, host: Host, op_hash: str, retry_count: int = 0) -> None:  # type: ignore[override]
        commands = self.done.get((host.name, op_hash), [])
        if commands:
            title = " | ".join(split_title(state.op_meta[op_hash].names))
            subjects = tuple(dict.fromkeys(planned(command).subject for command in commands))
            self.session.emit(TaskChanged(host.name, title, subjects))

    def operation_host_error(  # type: ignore[override]
        self, state: State, host: Host, op_hash: str, retry_count: int = 0, max_retries: int = 0
    ) -> None:
        title = " | ".join(split_title(state.op_meta[op_hash].names))
        self.done[host.name, op_hash].clear()  # begun, not done
        problem = getattr(host.connector, "problem", None)
        call_error = getattr(host, FAILED_BY, None)
        command, ended, _ = getattr(host.connector, "last_failure", None) or ("a call", "failed", [])
        shown = f"`{command if len(command) < 200 else command[:197] + '...'}`"
        failed = problem or call_error or TaskFailed(where=host.name, task=title, ended=ended, command=shown)
        self.session.fail(host, failed)


def _line_in(deploy: Path | None, error: BaseException) -> int | None:
    """Line of the deploy file that raised, where it was that file itself and nothing it called."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return last.lineno if deploy is not None and last.filename == str(deploy) else None


def _keeping(generator: Any, kept: list[PyinfraCommand]) -> Any:
    def commands() -> Iterator[PyinfraCommand]:
        for command in generator():
            kept.append(command)
            yield command

    return commands


def traffic_of(host: Host) -> HostTraffic | None:
    counted = getattr(host.connector, "traffic", None)
    if counted is None:
        return None
    return HostTraffic(counted.connections, counted.channels, counted.round_trips, counted.facts)


def _quiet_pyinfra() -> None:
    """pyinfra logs at will; what matters of it reaches the user as our events."""
    logger = logging.getLogger("pyinfra")
    logger.handlers[:] = [logging.NullHandler()]
    logger.propagate = False
    logging.getLogger("paramiko").addHandler(logging.NullHandler())
    logging.getLogger("paramiko").propagate = False
