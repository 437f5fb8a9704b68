"""Runs a deploy for a host without the host, to learn which facts it is going to ask.

What the host has answered so far is given; of the rest each fact says what it makes of no output. So an operation may
take a wrong turn here, or fail: that ends this operation or this role, and the next one goes on. Nothing of it is kept
but what was asked: the run has a state, a host and slots of its own, and may touch nothing (`untouched`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from gevent.local import local
from pyinfra.api.host import Host
from pyinfra.api.state import State, StateHostMeta, StateHostResults, StateStage
from pyinfra.connectors.base import BaseConnector
from pyinfra.connectors.util import CommandOutput
from pyinfra.context import ctx_config, ctx_host, ctx_state

from steelyard.api.rehearsal import Known
from steelyard.api.run_slots import OurEngine, clear_slots, run_slot

from .deploy_file import DeployFile
from .pyinfra_fast import install_fast_host_data
from .untouched import NotNow, untouched

MOST_QUESTIONS = 20_000  # of a host; a deploy that waits in a loop for an answer that never comes here goes no further


class RehearsalEnded(BaseException):
    """A rehearsal that would not end by itself."""


class _State(State):
    """A run in which no host can fail."""

    def fail_hosts(self, hosts_to_fail: set[Host], activated_count: int | None = None) -> None: ...


class _Connector(BaseConnector):
    """Answers facts with what is known, and does nothing else."""

    handles_execution = True
    data_cls = dict
    data_meta = {}
    known: Known

    @staticmethod
    def make_names_data(name: str) -> Iterator[tuple[str, dict[str, Any], list[str]]]:
        yield name, {}, []

    def run_shell_command(
        self, command: Any, print_output: bool = False, print_input: bool = False, **arguments: Any
    ) -> tuple[bool, CommandOutput]:
        if not self.host.asking:  # type: ignore[attr-defined]
            raise NotNow("a command in a rehearsal")
        self.host.questions += 1  # type: ignore[attr-defined]
        if self.host.questions > MOST_QUESTIONS:  # type: ignore[attr-defined]
            raise RehearsalEnded
        return True, self.known(command, arguments) or CommandOutput([])

    def put_file(self, *_: Any, **__: Any) -> bool:
        raise NotNow("an upload in a rehearsal")

    get_file = rsync = put_file


class _Host(Host):
    """The host as the deploy sees it: the inventory's data, and a connection to nowhere."""

    asking = 0
    questions = 0

    def get_fact(self, *args: Any, **kwargs: Any) -> Any:
        self.asking += 1
        try:
            return super().get_fact(*args, **kwargs)
        finally:
            self.asking -= 1

    @contextmanager
    def deploy(self, *args: Any, **kwargs: Any) -> Iterator[None]:
        """A role that fails ends here: the next one may have questions of its own."""
        try:
            with super().deploy(*args, **kwargs):
                yield
        except Exception:
            return


class _StateOfGreenlet:
    """Makes pyinfra's current state, which is one for all greenlets, another one for those that rehearse."""

    def __init__(self, shared: State | None) -> None:
        self.shared, self.own = shared, local()

    @property
    def module(self) -> State | None:
        own: State | None = getattr(self.own, "state", None)
        return own or self.shared

    @module.setter
    def module(self, state: State | None) -> None:
        self.shared = state


def _nobody(filed: object) -> None:
    """What is filed in a rehearsal is not heard."""


def rehearse(deploy: DeployFile, real: Host, checking: bool, known: Known, drop: Callable[[State, Host], None]) -> None:
    """Run the deploy for the host as far as it goes; `known` gets each of its questions. `checking`: live checks are
    asked for too; `drop` takes out what the look leaves out.
    """
    state = _state_beside(real.state)
    host = _Host(real.name, real.inventory, real.groups, _Connector)
    host.state, host.connected, host.print_prefix_padding = state, True, ""
    host.connector = _Connector(state, host)
    host.connector.known = known
    install_fast_host_data(host)
    host.data.__dict__["inventory_data"].update(
        {"file_unknown": _nobody, "file_advice": _nobody, "file_check": _nobody if checking else None, "emit": _nobody}
    )
    state.ops, state.meta, state.results = {host: {}}, {host: StateHostMeta()}, {host: StateHostResults()}
    container = _container()
    before = ctx_host.get()
    container.own.state = state
    ctx_host.set(host)
    try:
        with untouched(), ctx_config.use(state.config.copy()):
            _as_far_as_it_goes(deploy, state, host, drop)
    finally:
        ctx_host.set(before)
        del container.own.state
        clear_slots(state)


def _as_far_as_it_goes(deploy: DeployFile, state: State, host: Host, drop: Callable[[State, Host], None]) -> None:
    try:
        deploy.run()
    except (Exception, SystemExit):
        pass  # what it means is said by the look, which runs into it too where it is true
    except RehearsalEnded:
        return
    drop(state, host)
    for op_hash in host.op_hash_order:
        operation = state.ops[host].get(op_hash)
        if operation is None:
            continue
        try:
            for _ in operation.command_generator():
                pass
        except Exception:
            continue
        except RehearsalEnded:
            return


def _state_beside(real: State) -> State:
    """A state of the same run, with nothing in it."""
    state = _State(check_for_changes=False)
    state.inventory, state.config = real.inventory, real.config
    state.cwd, state.current_deploy_filename = real.cwd, real.current_deploy_filename
    state.callback_handlers, state.op_meta = [], {}
    state.activated_hosts, state.active_hosts, state.failed_hosts = set(), set(), set()
    state.limit_hosts = []
    state.current_stage = StateStage.Prepare
    run_slot(state, OurEngine).executes = True
    return state


def _container() -> _StateOfGreenlet:
    """pyinfra's holder of the current state, ours from the first rehearsal on."""
    held = ctx_state.context._container
    if not isinstance(held, _StateOfGreenlet):
        held = _StateOfGreenlet(held.module)
        ctx_state.context._container = held
    return held
