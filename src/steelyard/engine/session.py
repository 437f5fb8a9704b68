"""One run of one deploy file over selected hosts: connect, look, plan. pyinfra's API with unmodified operations.

Each host goes its own way through connecting and looking, a bounded number at once, so a slow one holds nobody up.
Traps this file knows (docs/design/pyinfra.md): with `is_cli` off, pyinfra orders operations by their number on
each host and mixes up hosts with different tasks, so it is switched on and the call stack gives the order; an
exception in one host's deploy ends the run for all, so each host's is caught here; a failed fact goes on with a
default, so the connector raises instead. gevent's patches must come before paramiko: the commands import
`engine.gevent_patch` first.
"""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pyinfra
from gevent.pool import Pool
from pyinfra.api.command import PyinfraCommand
from pyinfra.api.config import Config
from pyinfra.api.exceptions import FactProcessError, PyinfraError
from pyinfra.api.facts import FactBase
from pyinfra.api.host import Host
from pyinfra.api.inventory import Inventory
from pyinfra.api.state import State, StateStage
from pyinfra.connectors.base import BaseConnector
from pyinfra.context import ctx_config, ctx_host, ctx_state

from steelyard.api.advice import Advice
from steelyard.api.finding import Finding
from steelyard.api.foreseen import Foreseen
from steelyard.api.host_error import HostError
from steelyard.api.host_report import FailedCommand, report_of
from steelyard.api.outcome import outcome_of
from steelyard.api.rehearsal import Known, Rehearsals
from steelyard.api.run_slots import OurEngine, clear_slots, run_slot
from steelyard.api.unknown import Unknown
from steelyard.errors import DeployBroken, FactFailed, HostUnreachable, SteelyardError
from steelyard.events import CONNECTING, LOOKING, Emit, HostAt, HostEnded, HostFailed, RunStarted, ignore
from steelyard.inventory.connection import host_data
from steelyard.inventory.fleet import Fleet

from .deploy_file import DeployFile
from .plan import NO_ROLE, HostPlan, HostTraffic, Plan, split_title, task_of
from .pyinfra_fast import Lazy, fast_connectors, install_fast_host_data, install_fast_paths, quiet_pyinfra
from .templated import when_asked

if TYPE_CHECKING:
    from steelyard.site.site import Site

AT_ONCE = 100  # hosts that are connected to and looked at side by side
CONNECT_S = 15
Answer = TypeVar("Answer")  # of a fact


class Session:
    """A run over hosts, used as a context manager: connections are closed at the end, whatever happened.

    `connector` is how hosts are reached; whoever opens the session brings it, so the engine knows none.
    `checking` asks roles for their live checks too, `pruning` to remove what outlives its declaration.
    `roles_of`: hosts of which only these roles are asked, because others of the run concern them.
    """

    def __init__(
        self,
        fleet: Fleet,
        site: Site | Lazy[Site],
        names: tuple[str, ...],
        deploy: Path | None,
        connector: type[BaseConnector],
        emit: Emit = ignore,
        checking: bool = False,
        pruning: bool = False,
        roles_of: Mapping[str, frozenset[str]] | None = None,
    ) -> None:
        self.emit = emit
        self.names = names
        self.deploy = deploy
        self.errors: dict[str, SteelyardError] = {}
        self.more_errors: dict[str, list[SteelyardError]] = {}  # of hosts that went on after their first
        self.silent: dict[str, SteelyardError] = {}  # hosts that `reached` did not reach
        self.commands: dict[tuple[str, str], tuple[PyinfraCommand, ...]] = {}
        self._unknowns: dict[str, list[Unknown]] = {name: [] for name in names}
        self._checks: dict[str, list[Finding]] = {name: [] for name in names}
        self._advice: dict[str, list[Advice]] = {name: [] for name in names}
        self._last_lines: dict[str, tuple[str, ...]] = {}
        self._plans: dict[str, HostPlan] = {}
        self._site, self._checking, self._pruning, self._secrets = site, checking, pruning, fleet.secrets
        self._roles_of = roles_of or {}
        self._unresolved = {name: error for name in names if (error := fleet.host(name).error) is not None}
        quiet_pyinfra()
        install_fast_paths()
        self.state = self._state(fleet, connector)

    def _state(self, fleet: Fleet, connector: type[BaseConnector]) -> State:
        selected = set(self.names)
        # a host is in the run if selected, but knows every group it is in
        groups: dict[str, Any] = {
            group: ([name for name in members if name in selected], {})
            for group, members in fleet.groups.items()
            if group != "all"
        }
        with fast_connectors(self.names, connector):
            inventory = Inventory(([(name, self._data(fleet, name)) for name in self.names], {}), **groups)
        for host in inventory:
            host.connector_cls = connector
            install_fast_host_data(host)
        state = State(check_for_changes=False)
        state.current_deploy_filename = str(self.deploy) if self.deploy else "no deploy"
        state.cwd = str(self.deploy.parent) if self.deploy else None
        run_slot(state, OurEngine).executes = True
        state.init(inventory, Config(CONNECT_TIMEOUT=CONNECT_S, PARALLEL=max(1, min(AT_ONCE, len(self.names)))))
        return state

    def _data(self, fleet: Fleet, name: str) -> dict[str, Any]:
        if name in self._unresolved:
            return {}  # it is never connected to
        host = fleet.host(name)
        return {
            **host_data(fleet, host),
            **when_asked(fleet, host, self.emit),
            "site": self._site,
            "file_unknown": self._filed(name, self._unknowns),
            "file_advice": self._filed(name, self._advice),
            "file_check": self._filed(name, self._checks) if self._checking else None,
            "prunes": self._pruning,
            "emit": self.emit,
        }

    def _filed(self, name: str, lists: dict[str, list[Answer]]) -> Callable[[Answer], None]:
        """What files an entry of a host; of one with chosen roles, what the others say is nobody's business now."""
        roles, entries = self._roles_of.get(name), lists[name]
        if roles is None:
            return entries.append

        def file(entry: Answer) -> None:
            if ctx_host.get().current_deploy_name in roles:
                entries.append(entry)

        return file

    def __enter__(self) -> Session:
        pyinfra.is_cli = True
        allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        if allowed < most:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a connection is a file or two
        return self

    def __exit__(self, *_: object) -> None:
        for host in self.state.activated_hosts:
            host.connector.disconnect()
        clear_slots(self.state)
        pyinfra.is_cli = False

    @property
    def hosts(self) -> list[Host]:
        """Hosts that are connected and have not failed, in inventory order."""
        return [
            host for host in self.state.inventory if host in self.state.active_hosts and host.name not in self.errors
        ]

    # Looking

    def look(self, keep: bool = False) -> Plan:
        """Connect to every host and run the deploy file for it: reads facts, changes nothing.

        With `keep` the connections stay, for an apply; else each is closed as soon as its host's plan is known.
        """
        assert self.deploy is not None
        deploy = DeployFile.read(self.deploy)
        rehearsals = run_slot(self.state, Rehearsals)
        rehearsals.secrets, rehearsals.run = self._secrets, lambda host, known: self._rehearse(deploy, host, known)
        run_slot(self.state, Foreseen).keeps = keep

        def one(host: Host) -> None:
            self._prepare(host, deploy)
            self._plans[host.name] = self.host_plan(host)
            if not keep:
                self._let_go(host)

        self.each(one, LOOKING, self._looked)
        return self.plan()

    def each(
        self, work: Callable[[Host], None], doing: str = "", ended: Callable[[str], HostEnded] | None = None
    ) -> None:
        """Connect to every host and do the work on it, `AT_ONCE` of them at once. A host's failure is its own.

        `doing` names the work where each host's end is news; `ended` tells how a host without an error came out.
        """

        def one(host: Host) -> None:
            name = host.name
            with _Failing(self, host):
                self.emit(HostAt(name, CONNECTING))
                self._connect(host)
                self.emit(HostAt(name, (doing or LOOKING).split()[0]))
                work(host)
            failed = outcome_of(self.errors[name]) if name in self.errors else None
            self.emit(ended(name) if ended and failed is None else HostEnded(name, failed))

        self.emit(RunStarted(len(self.names), doing or LOOKING, passing=not doing))
        self.state.set_stage(StateStage.Prepare)
        pool = Pool(max(1, min(AT_ONCE, len(self.names))))
        with ctx_state.use(self.state):
            try:
                for _ in pool.imap_unordered(one, list(self.state.inventory)):
                    pass  # what is nobody's own failure is raised here, and ends the run
            except BaseException:
                pool.kill()
                raise

    def _looked(self, name: str) -> HostEnded:
        plan = self._plans[name]
        return HostEnded(name, plan.outcome, len(plan.tasks))

    def reached(self) -> list[Host]:
        """Connect to the hosts side by side; return those that answer. Why others do not is in `silent`.

        Another session may be at work.
        """
        self.state.set_stage(StateStage.Execute)

        def one(host: Host) -> bool:
            try:
                self._connect(host)
            except HostError as problem:
                self.silent[host.name] = problem.error
            return host.name not in self.silent

        hosts, self.silent = list(self.state.inventory), {}
        pool = Pool(max(1, min(AT_ONCE, len(hosts))))
        try:
            return [host for host, answers in zip(hosts, pool.imap(one, hosts), strict=True) if answers]
        except BaseException:
            pool.kill()
            raise

    def _connect(self, host: Host) -> None:
        if host.name in self._unresolved:
            raise HostError(self._unresolved[host.name])
        try:
            host.connect(show_errors=False, raise_exceptions=True)
        except HostError:
            raise
        except PyinfraError as error:
            raise HostError(HostUnreachable(where=host.name, why=str(error), address=host.name)) from error
        self.state.activate_host(host)

    def _noted(self, host: Host, op_hash: str) -> Iterator[PyinfraCommand]:
        foreseen = run_slot(self.state, Foreseen)
        for command in self.state.ops[host][op_hash].command_generator():
            foreseen.note(host.name, op_hash, command)
            yield command

    def _rehearse(self, deploy: DeployFile, host: Host, known: Known) -> None:
        from .rehearsal import rehearse  # a look that knows its questions has none

        rehearse(deploy, host, self._checking, known, self._drop_other_roles)

    def _prepare(self, host: Host, deploy: DeployFile) -> None:
        try:
            with ctx_config.use(self.state.config.copy()), ctx_host.use(host):
                deploy.run()
                self._drop_other_roles(self.state, host)
                for op_hash in host.op_hash_order:
                    # to its end without executing anything, so that its commands are known
                    self.commands[host.name, op_hash] = tuple(self._noted(host, op_hash))
        except (SteelyardError, PyinfraError):
            raise
        except Exception as error:
            broken = deploy.broken(error)
            if broken is None:
                raise  # not the deploy file's own doing: ours
            raise broken from error

    def _drop_other_roles(self, state: State, host: Host) -> None:
        """Of a host with chosen roles their tasks stay, and the points where all meet, which are of no role."""
        roles = self._roles_of.get(host.name)
        if roles is None:
            return
        for op_hash in list(host.op_hash_order):
            role, _ = split_title(state.op_meta[op_hash].names)
            if role not in roles and role != NO_ROLE:
                host.op_hash_order.remove(op_hash)
                del state.ops[host][op_hash]

    def _let_go(self, host: Host) -> None:
        """Close the connection, and forget what only an apply would need."""
        host.connector.disconnect()
        self.state.activated_hosts.discard(host)
        run_slot(self.state, Foreseen).forget(host.name, self.state.ops[host])
        for op_hash in self.state.ops[host]:
            self.commands.pop((host.name, op_hash), None)
        self.state.ops[host].clear()
        host.op_hash_order.clear()

    def fail(self, host: Host, error: SteelyardError, goes_on: bool = False) -> None:
        """Take a host out of the run, with its last words. `goes_on`: it failed, and has tasks that do not need the
        one which did.
        """
        report = report_of(self.state, host)
        last = tuple(report.failed.lines[-20:]) if report.failed else ()
        if host.name in self.errors:
            self.more_errors.setdefault(host.name, []).append(error)
        else:
            self.errors[host.name], self._last_lines[host.name] = error, last
        self.emit(HostFailed(host.name, error, last))
        if goes_on:
            report.failed = None
            self.state.failed_hosts.discard(host)
            self.state.active_hosts.add(host)
        else:
            self.state.active_hosts.discard(host)

    def fact_failed(self, host: Host) -> SteelyardError:
        """Return why the host's last fact failed: the host's own problem, or the last line of the command."""
        report = report_of(self.state, host)
        if report.error is not None:
            return report.error
        command, _, lines = report.failed or FailedCommand("a fact", "", ["no answer"])
        return FactFailed(where=host.name, fact=f"`{command[:120]}`", why=lines[-1] if lines else "no output")

    # Results

    def plan(self) -> Plan:
        """Return the plan of every selected host, after `look`."""
        return Plan(tuple(self._plans.get(host.name) or self.host_plan(host) for host in self.state.inventory))

    def host_plan(self, host: Host, skipped: bool = False) -> HostPlan:
        """Return what is known of a host: the commands of each task, planned by a look or done by an apply."""
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
            self._last_lines.get(host.name, ()),
            self._traffic(host),
            tuple(sorted(self._checks[host.name])),
            skipped,
            tuple(sorted(set(self._advice[host.name]))),
            tuple(self.more_errors.get(host.name, ())),
        )

    def _traffic(self, host: Host) -> HostTraffic:
        counts = report_of(self.state, host).traffic
        return HostTraffic(counts.connections, counts.channels, counts.round_trips, counts.facts)

    def settle(self, plans: dict[str, HostPlan]) -> None:
        """Take these plans as the final ones, after an apply: what could not be known before has happened."""
        self._plans = plans

    def forget_unknowns(self) -> None:
        """Drop what was filed as unknown: it has happened."""
        for filed in self._unknowns.values():
            filed.clear()

    def facts(self, fact: type[FactBase[Answer]], **arguments: Any) -> dict[str, Answer]:
        """Return one fact of every host by name; hosts that fail are noted and left out."""
        answers: dict[str, Answer] = {}

        def ask(host: Host) -> None:
            with ctx_host.use(host):
                answers[host.name] = host.get_fact(fact, _sudo=bool(host.data.get("_sudo")), **arguments)
            self._let_go(host)

        self.each(ask)
        return {name: answers[name] for name in self.names if name in answers and name not in self.errors}


class _Failing:
    """A block in which whatever goes wrong with one host takes it, and no other, out of the run."""

    def __init__(self, session: Session, host: Host) -> None:
        self.session, self.host = session, host

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if isinstance(error, DeployBroken):
            return False
        if isinstance(error, HostError):
            self.session.fail(self.host, error.error)
        elif isinstance(error, SteelyardError):
            self.session.fail(self.host, error)
        elif isinstance(error, PyinfraError | FactProcessError):
            self.session.fail(self.host, self.session.fact_failed(self.host))
        return isinstance(error, HostError | SteelyardError | PyinfraError | FactProcessError)
