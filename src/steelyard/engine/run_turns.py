"""The turns of one execution: looks at each command before it runs, and has its host wait where it would take away what
nobody else offers.

The plan says who is going to leave and who does not serve yet. A restart that no plan knew takes its turn as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from pyinfra.api.command import PyinfraCommand

from steelyard.api.change import Effect
from steelyard.api.turn import Return, turns_of
from steelyard.events import TaskProgress

from .turn_table import TurnTable, Unseen

if TYPE_CHECKING:
    from .session import Session


def is_restart(command: PyinfraCommand) -> bool:
    """Whether something that serves ends by this command, and starts again."""
    return getattr(command, "effect", None) is Effect.RESTART


class RunTurns:
    """Turns of the session's hosts, as `api.turn` declares them."""

    def __init__(self, session: Session, is_stopped: Callable[[], bool], unseen: Unseen = lambda servers: {}) -> None:
        self._turns = turns_of(session.state)
        self._table = TurnTable(
            is_stopped, unseen, lambda host, text: session.emit(TaskProgress(host, text and f"{text} to serve again"))
        )
        self._leaving: set[tuple[str, str]] = set()  # host and turn, as planned
        self.returning: set[str] = set()  # hosts that bring something back, as planned
        for (host, op_hash), turns in self._turns.by_task.items():
            commands = session.commands.get((host, op_hash), ())
            if any(is_restart(command) for command in commands):
                self._leaving |= {(host, turn.name) for turn in turns}
            if any(isinstance(command, Return) for command in commands):
                self.returning.add(host)
            for turn in turns:
                self._table.add(host, turn, serves=not any(isinstance(command, Return) for command in commands))

    def begin(self, hosts: Iterable[str]) -> None:
        """A wave of these hosts begins."""
        self._table.begin(hosts)

    def before(self, host: str, op_hash: str, command: PyinfraCommand) -> None:
        """A command of a task is about to run. Waits for the host's turn. Raises NotRestarted or RunStopped."""
        turns = self._turns.of(host, op_hash)
        if not turns:
            return
        if isinstance(command, Return):
            self._table.start(host, turns)
        elif is_restart(command):
            self._table.take(host, turns)
            self._table.leave(host, turns)
        elif any((host, turn.name) in self._leaving for turn in turns):
            self._table.take(host, turns)

    def ended(self, host: str, op_hash: str, well: bool) -> None:
        """A task came to its end, or was left out because a task of its group had failed."""
        turns = self._turns.of(host, op_hash)
        done = [turn for turn in turns if not well or self._turns.is_last(host, op_hash, turn)]
        self._table.end(host, done, well)

    def out(self, host: str) -> None:
        """The host goes no further in this run."""
        mine = {turn for (name, _), turns in self._turns.by_task.items() if name == host for turn in turns}
        self._table.end_all(host, sorted(mine, key=lambda turn: turn.name))


def waves_in_order(names: Iterable[str], first: Iterable[str]) -> list[str]:
    """Return the hosts with those of `first` before the others: who waits for them may be of a later wave only."""
    early = frozenset(first)
    return sorted(names, key=lambda name: name not in early)
