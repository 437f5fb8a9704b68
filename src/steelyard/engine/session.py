"""One run of one deploy file over selected hosts: connect, look, plan. pyinfra's API with unmodified operations.

Each host goes its own way through connecting and looking, a bounded number at once, so a slow one holds nobody up.
Traps this file knows (facts: pyinfra.md section 2): with `is_cli` off, pyinfra orders operations by their number on
each host and mixes up hosts with different tasks, so it is switched on and the call stack gives the order; an
exception in one host's deploy ends the run for all, so each host's is caught here; a failed fact goes on with a default,
so the connector raises instead. gevent's patches must come before paramiko: the commands import `engine.patched` first.
"""

from __future__ import annotations

import logging
import resource
import traceback
from collections.abc import Callable
from pathlib import Path
from types import CodeType
from typing import TYPE_CHECKING, Any

import pyinfra
from gevent.pool import Pool
from pyinfra.api.command import PyinfraCommand
from pyinfra.api.config import Config
from pyinfra.api.exceptions import FactProcessError, PyinfraError
from pyinfra.api.host import Host
from pyinfra.api.inventory import Inventory
from pyinfra.api.state import State, StateStage
from pyinfra.connectors.base import BaseConnector
from pyinfra.context import ctx_config, ctx_host, ctx_state

from steelyard.errors import DeployBroken, FactFailed, HostUnreachable, SteelyardError
from steelyard.events import Emit, HostFailed, Looking, ignore
from steelyard.finding import Finding
from steelyard.inventory.fleet import Fleet
from steelyard.inventory.pyinfra_file import host_data
from steelyard.problem import HostProblem
from steelyard.unknowns import Unknown

from .plan import HostPlan, HostTraffic, Plan, task_of
from .quick import Later, quick_connectors, quicken, quicken_host

if TYPE_CHECKING:
    from steelyard.site import Site

AT_ONCE = 100  # hosts that are connected to and looked at side by side
CONNECT_S = 15


class Session:
    """Use as a context manager: connections are closed at the end, whatever happened.

    `connector` is how hosts are reached; whoever opens the session brings it, so the engine knows none.
    `checking` asks roles for their live checks too.
    """

    def __init__(
        self,
        fleet: Fleet,
        site: Site | Later[Site],
        names: tuple[str, ...],
        deploy: Path | None,
        connector: type[BaseConnector],
        emit: Emit = ignore,
        checking: bool = False,
    ) -> None:
        self.emit = emit
        self.names = names
        self.deploy = deploy
        self.errors: dict[str, SteelyardError] = {}
        self.commands: dict[tuple[str, str], tuple[PyinfraCommand, ...]] = {}
        self._unknowns: dict[str, list[Unknown]] = {name: [] for name in names}
        self._checks: dict[str, list[Finding]] = {name: [] for name in names}
        self._words: dict[str, tuple[str, ...]] = {}
        self._plans: dict[str, HostPlan] = {}
        self._site, self._checking = site, checking
        _quiet_pyinfra()
        quicken()
        self.state = self._state(fleet, connector)

    def _state(self, fleet: Fleet, connector: type[BaseConnector]) -> State:
        selected = set(self.names)
        # a host is in the run if selected, but knows every group it is in
        groups: dict[str, Any] = {
            group: ([name for name in members if name in selected], {})
            for group, members in fleet.groups.items()
            if group != "all"
        }
        with quick_connectors(self.names, connector):
            inventory = Inventory(([(name, self._data(fleet, name)) for name in self.names], {}), **groups)
        for host in inventory:
            host.connector_cls = connector
            quicken_host(host)
        state = State(check_for_changes=False)
        state.current_deploy_filename = str(self.deploy) if self.deploy else "no deploy"
        state.cwd = str(self.deploy.parent) if self.deploy else None
        state.raises_host_problems = True  # type: ignore[attr-defined]  # see the connector
        state.init(inventory, Config(CONNECT_TIMEOUT=CONNECT_S, PARALLEL=max(1, min(AT_ONCE, len(self.names)))))
        return state

    def _data(self, fleet: Fleet, name: str) -> dict[str, Any]:
        return {
            **host_data(fleet.host(name)),
            "site": self._site,
            "file_unknown": self._unknowns[name].append,
            "file_check": self._checks[name].append if self._checking else None,
            "emit": self.emit,
        }

    def __enter__(self) -> Session:
        pyinfra.is_cli = True
        allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        if allowed < most:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a connection is a file or two
        return self

    def __exit__(self, *_: object) -> None:
        for host in self.state.activated_hosts:
            host.connector.disconnect()
        pyinfra.is_cli = False

    @property
    def hosts(self) -> list[Host]:
        """Hosts that are connected and have not failed, in inventory order."""
        return [host for host in self.state.inventory if host in self.state.active_hosts and host.name not in self.errors]

    # Looking

    def look(self, keep: bool = False) -> Plan:
        """Connect to every host and run the deploy file for it: reads facts, changes nothing.

        With `keep` the connections stay, for an apply; else each is closed as soon as its host's plan is known.
        """
        assert self.deploy is not None
        try:
            code = compile(self.deploy.read_text(), str(self.deploy), "exec")
        except (SyntaxError, ValueError) as error:
            where = f"{self.deploy}:{getattr(error, 'lineno', None) or 1}"
            raise DeployBroken(where=where, why=f"{type(error).__name__}: {error}") from error

        def one(host: Host) -> None:
            self._prepare(host, code)
            self._plans[host.name] = self.host_plan(host)
            if not keep:
                self._let_go(host)

        self.each(one)
        return self.plan()

    def each(self, work: Callable[[Host], None]) -> None:
        """Connect to every host and do the work on it, `AT_ONCE` of them at once. A host's failure is its own."""
        done = 0

        def one(host: Host) -> None:
            nonlocal done
            with _Failing(self, host):
                self._connect(host)
                work(host)
            done += 1
            self.emit(Looking(done, len(self.names)))

        self.emit(Looking(0, len(self.names)))
        self.state.set_stage(StateStage.Prepare)
        pool = Pool(max(1, min(AT_ONCE, len(self.names))))
        with ctx_state.use(self.state):
            try:
                for _ in pool.imap_unordered(one, list(self.state.inventory)):
                    pass  # what is nobody's own failure is raised here, and ends the run
            except BaseException:
                pool.kill()
                raise

    def first_that_answers(self) -> Host:
        """Connected, in inventory order. Raises the first one's error where none answers."""
        self.state.set_stage(StateStage.Execute)
        first: SteelyardError | None = None
        for host in self.state.inventory:
            try:
                self._connect(host)
            except HostProblem as problem:
                first = first or problem.error
            else:
                return host
        assert first is not None
        raise first

    def _connect(self, host: Host) -> None:
        try:
            host.connect(show_errors=False, raise_exceptions=True)
        except HostProblem:
            raise
        except PyinfraError as error:
            raise HostProblem(HostUnreachable(where=host.name, why=str(error), address=host.name)) from error
        self.state.activate_host(host)

    def _prepare(self, host: Host, code: CodeType) -> None:
        try:
            with ctx_config.use(self.state.config.copy()), ctx_host.use(host):
                exec(code, {"__file__": str(self.deploy), "__name__": "__deploy__"})
                for op_hash in host.op_hash_order:
                    # to its end without executing anything, so that its commands are known
                    self.commands[host.name, op_hash] = tuple(self.state.ops[host][op_hash].command_generator())
        except (SteelyardError, PyinfraError):
            raise
        except Exception as error:
            line = _line_in(self.deploy, error)
            if line is None:
                raise  # not the deploy file's own doing: ours
            raise DeployBroken(where=f"{self.deploy}:{line}", why=f"{type(error).__name__}: {error}") from error

    def _let_go(self, host: Host) -> None:
        """Close the connection, and forget what only an apply would need."""
        host.connector.disconnect()
        self.state.activated_hosts.discard(host)
        for op_hash in self.state.ops[host]:
            self.commands.pop((host.name, op_hash), None)
        self.state.ops[host].clear()
        host.op_hash_order.clear()

    def fail(self, host: Host, error: SteelyardError) -> None:
        """Take a host out of the run, with its last words."""
        *_, words = getattr(host.connector, "last_failure", None) or ("", "", [])
        self.errors[host.name] = error
        self._words[host.name] = tuple(words[-20:])
        self.state.active_hosts.discard(host)
        self.emit(HostFailed(host.name, error, self._words[host.name]))

    def fact_failed(self, host: Host) -> SteelyardError:
        problem = getattr(host.connector, "problem", None)
        if isinstance(problem, SteelyardError):
            return problem
        command, _, words = getattr(host.connector, "last_failure", None) or ("a fact", "", ["no answer"])
        return FactFailed(where=host.name, fact=f"`{command[:120]}`", why=words[-1] if words else "no output")

    # Results

    def plan(self) -> Plan:
        """The plan of every selected host, after `look`."""
        return Plan(tuple(self._plans.get(host.name) or self.host_plan(host) for host in self.state.inventory))

    def host_plan(self, host: Host, skipped: bool = False) -> HostPlan:
        """What is known of a host now: the commands of each task, found by a look or done by an apply."""
        tasks, in_sync = [], 0
        for op_hash in host.op_hash_order:
            commands = self.commands.get((host.name, op_hash), ())
            if commands:
                tasks.append(task_of(self.state.op_meta[op_hash].names, commands))
            else:
                in_sync += 1
        return HostPlan(
            host.name,
            tuple(tasks),
            in_sync,
            tuple(sorted(set(self._unknowns[host.name]))),
            self.errors.get(host.name),
            self._words.get(host.name, ()),
            traffic_of(host),
            tuple(sorted(self._checks[host.name])),
            skipped,
        )

    def settle(self, plans: dict[str, HostPlan]) -> None:
        """After an apply: these are the plans, and what could not be known before has happened."""
        self._plans = plans

    def forget_unknowns(self) -> None:
        for filed in self._unknowns.values():
            filed.clear()

    def facts(self, fact: type[Any], **arguments: Any) -> dict[str, Any]:
        """One fact of every host; hosts that fail are noted and left out."""
        found: dict[str, Any] = {}

        def ask(host: Host) -> None:
            with ctx_host.use(host):
                found[host.name] = host.get_fact(fact, _sudo=bool(host.data.get("_sudo")), **arguments)
            self._let_go(host)

        self.each(ask)
        return {name: found[name] for name in self.names if name in found and name not in self.errors}


class _Failing:
    """Whatever goes wrong with one host inside, takes it out of the run and nobody else."""

    def __init__(self, session: Session, host: Host) -> None:
        self.session, self.host = session, host

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if isinstance(error, DeployBroken):
            return False
        if isinstance(error, HostProblem):
            self.session.fail(self.host, error.error)
        elif isinstance(error, SteelyardError):
            self.session.fail(self.host, error)
        elif isinstance(error, PyinfraError | FactProcessError):
            self.session.fail(self.host, self.session.fact_failed(self.host))
        return isinstance(error, HostProblem | SteelyardError | PyinfraError | FactProcessError)


def _line_in(deploy: Path | None, error: BaseException) -> int | None:
    """Line of the deploy file that raised, where it was that file itself and nothing it called."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return last.lineno if deploy is not None and last.filename == str(deploy) else None


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
    logger.disabled = True
    logging.getLogger("paramiko").addHandler(logging.NullHandler())
    logging.getLogger("paramiko").propagate = False
