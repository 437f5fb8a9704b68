"""Sends hosts the next tasks ahead, where these can be foreseen (`api.foreseen`): several tasks, one round trip.

The tasks are then run as ever, one after the other, and find what the host made of each. What was planned is sent and
nothing else; a task that disturbs others, refuses, calls something on the controller or is run in an unusual way is
not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pyinfra.api.arguments import CONNECTOR_ARGUMENT_KEYS
from pyinfra.api.command import PyinfraCommand
from pyinfra.api.host import Host

from steelyard.api.change import Change, Effect
from steelyard.api.foreseen import Foreseen, GoesAhead, Order, Question, TaskAhead
from steelyard.api.host_error import HostError
from steelyard.api.run_slots import run_slot
from steelyard.api.task_group import group_of, is_lost
from steelyard.api.turn import Return, turns_of
from steelyard.errors import SteelyardError

from .plan import split_title
from .turn_table import RunStopped

if TYPE_CHECKING:
    from .audit import Audit
    from .session import Session

MOST_COMMANDS = 8  # sent at once: so many may still run on a host whose link is cut without a word
MOST_TASKS = 48
UNUSUAL = ("_if", "_ignore_errors", "_continue_on_error", "_retries", "_retry_until", "_stdin")
QUIET = (Effect.CHANGE, Effect.REMOVAL)


class RunAhead:
    """One execution's sending ahead."""

    def __init__(self, session: Session, audit: Audit, is_stopped: Callable[[], bool]) -> None:
        self._session, self._state, self._audit, self._is_stopped = session, session.state, audit, is_stopped
        self._foreseen = run_slot(session.state, Foreseen)
        self._turns = turns_of(session.state)
        self._sent: dict[str, frozenset[str]] = {}  # by host: the tasks that went together

    def begin(self, host: Host, work: list[str]) -> SteelyardError | None:
        """The first of these tasks is next: send it, with what can go along, where it was not sent yet.

        Return why the host is lost, where it is. Raises RunStopped where the run ended before the task could begin.
        """
        connector = self._connector(host)
        try:
            if connector is None:
                is_begun = False
            else:
                is_begun = work[0] in self._sent.get(host.name, ()) and connector.begins_ahead()
                if not is_begun:
                    connector.end_ahead()
            if not is_begun and self._is_stopped():
                raise RunStopped
            if connector is not None and not is_begun:
                self._send(host, connector, work)
        except HostError as problem:
            return problem.error
        return None

    def _send(self, host: Host, connector: GoesAhead, work: list[str]) -> None:
        together = self._together(host, connector, work)
        self._sent[host.name] = frozenset(together)
        if together:
            connector.send_ahead(list(together.values()), self._is_stopped)
            if not connector.begins_ahead() and self._is_stopped():
                raise RunStopped

    def end(self, host: Host) -> SteelyardError | None:
        """All that the host was sent has come to its end. Return why the host is lost, where it is."""
        connector = self._connector(host)
        try:
            if connector is not None:
                connector.end_ahead()
        except HostError as problem:
            return problem.error
        return None

    def _connector(self, host: Host) -> GoesAhead | None:
        connector: Any = host.connector
        return connector if hasattr(connector, "send_ahead") else None

    def _together(self, host: Host, connector: GoesAhead, work: list[str]) -> dict[str, TaskAhead]:
        """The tasks that can go at once, from the first on; none where they would do nothing."""
        together: dict[str, TaskAhead] = {}
        commands = 0
        for op_hash in work:
            if op_hash not in self._state.ops[host]:
                continue
            task = self._task(host, connector, op_hash)
            if task is None or len(together) == MOST_TASKS:
                break
            commands += sum(isinstance(step, Order) for step in task.steps)
            if commands > MOST_COMMANDS and together:
                break
            together[op_hash] = task
        return together if commands else {}

    def _task(self, host: Host, connector: GoesAhead, op_hash: str) -> TaskAhead | None:
        """A task as it was planned; None where it cannot go ahead."""
        key, data = (host.name, op_hash), self._state.ops[host][op_hash]
        if key not in self._foreseen.tasks or self._turns.of(*key):
            return None
        group = group_of(self._state, *key)
        if group is not None and is_lost(self._state, host.name, group.name, *group.needs):
            return None
        given: dict[str, Any] = dict(data.global_arguments)
        if any(given.get(name) for name in UNUSUAL) or given.get("_success_exit_codes") not in (None, [0]):
            return None
        title = " | ".join(split_title(self._state.op_meta[op_hash].names))
        steps: list[Question | Order] = []
        for step in self._foreseen.steps.get(key, ()):
            if isinstance(step, Question):
                if not connector.knows(step):
                    return None
                steps.append(step)
            elif (order := self._order(step, given, title)) is not None:
                steps.append(order)
            else:
                return None
        return TaskAhead(tuple(steps))

    def _order(self, command: PyinfraCommand, given: dict[str, Any], title: str) -> Order | None:
        if not isinstance(command, Change) or isinstance(command, Return) or command.effect not in QUIET:
            return None
        if set(command.connector_arguments) - {"_stdin"}:
            return None
        arguments = {name: given[name] for name in CONNECTOR_ARGUMENT_KEYS if name in given}
        arguments.update(command.connector_arguments)
        return Order(command, arguments, self._audit.hosts_line(title, command))
