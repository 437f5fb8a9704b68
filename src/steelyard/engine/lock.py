"""One apply per fleet at a time, and nothing beside it; one rollout per alias. Locks lie on hosts, so they hold for
every controller.

A lock is held where a majority of its keepers grants it (`lock_members.py`, `lock_quorum.py`), as one of their own
folders each (`lock_script.py`): else what was granted is given back. It is renewed while the run lives, and ends by
itself when the controller is gone for `TTL_S`; a run that cannot renew it stops before that. A run of this same machine
whose process is gone is taken over at once.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import gevent
from gevent.pool import Pool
from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.host import Host
from pyinfra.connectors.util import CommandOutput

from steelyard.api.host_error import HostError
from steelyard.api.sudo import sudo_arguments
from steelyard.engine.run_owner import RunOwner
from steelyard.errors import ConnectionLost, SteelyardError
from steelyard.events import Step
from steelyard.interrupts.signals import Stopped

from .lock_quorum import HeldLock, KeeperAnswer, Lease, held_locks, refusal
from .lock_script import HELD, LOST, SCRIPT, STEPS, KeptLock, LockState, kept_locks, request_of
from .session import Session

TTL_S = 600
ANSWER_S = 60  # for a keeper to do one request, however slow its disk
LOOK_S = 1  # between two looks whether the lock is held still
Answer = TypeVar("Answer")


class FleetLock:
    """The lock on the hosts that keep it, over connections of its own: a heartbeat must not wait for a task.

    `session`: over the keepers, and nobody else. `alias`: of a rollout, whose lock keeps out applies and rollouts of
    the same alias; without it, everybody.
    """

    def __init__(self, session: Session, inventory: str, ttl_s: int = TTL_S, alias: str | None = None) -> None:
        self.session, self.inventory, self.ttl_s = session, inventory, ttl_s
        self.name = "lock" if alias is None else f"lock.{re.sub(r'[^A-Za-z0-9.-]', '_', alias)}"
        self.silent: dict[str, SteelyardError] = {}  # by keeper: why it has no say
        self._answering: list[Host] = []
        self._interrupted: set[str] = set()  # keepers whose last answer nobody waited for
        self._lease = Lease(len(self.keepers), ttl_s)

    @property
    def keepers(self) -> tuple[str, ...]:
        """The hosts that keep the lock, in inventory order."""
        return self.session.names

    @property
    def host(self) -> Host | None:
        """The first keeper that answers; None before `connect`."""
        return next(iter(self._answering), None)

    def connect(self) -> None:
        """Connect to the keepers, side by side. Raises the first one's error where none answers."""
        self._answering = self.session.reached()
        self.silent = dict(self.session.silent)
        if not self._answering:
            raise self.silent[self.keepers[0]]

    def take(self, owner: RunOwner) -> None:
        """Take the lock. Raises FleetLocked where a living run holds it, LockUnreadable where nobody can tell, and
        KeepersSilent or LockLapsed where too few keepers say anything, or say it in time; nothing is held then.
        """
        self._lease = Lease(len(self.keepers), self.ttl_s)
        answers = {answer.keeper: answer for answer in self._of(self._answering, lambda host: self._take(host, owner))}
        if self._refusal(answers) is not None and (gone := _runs_gone(answers.values())):
            for pid in gone.values():
                self.session.emit(Step(f"the run that held the lock is gone (pid {pid}); it is taken over"))

            def over(host: Host) -> KeeperAnswer:
                for lock in answers[host.name].locks:
                    if lock.owner is not None and lock.owner.run in gone:
                        self._release(host, lock.owner.run)
                return self._take(host, owner)

            for answer in self._of([host for host in self._answering if not answers[host.name].granted], over):
                answers[answer.keeper] = answer
        error = self._refusal(answers) or self.ended()  # where it took that long, it is over already
        if error is not None:
            self.release(owner)
            raise error

    def _refusal(self, answers: dict[str, KeeperAnswer]) -> SteelyardError | None:
        known = {name: KeeperAnswer(name, silent=str(error)) for name, error in self.silent.items()} | answers
        return refusal([known[name] for name in self.keepers], self.inventory)

    def _take(self, host: Host, owner: RunOwner) -> KeeperAnswer:
        asked_at = seconds_since_boot()
        try:
            status, lines = self._asked(host, "take", owner.run, request_of(owner))
        except SteelyardError as error:
            return KeeperAnswer(host.name, silent=str(error))
        if status == 0:
            self._lease.granted(host.name, asked_at)
            return KeeperAnswer(host.name)
        nobody_knows = KeptLock(host.name, self.name, LockState.TORN, False, 0, 0, None)
        return KeeperAnswer(host.name, tuple(kept_locks(host.name, lines)) or (nobody_knows,))

    def renew(self, owner: RunOwner) -> None:
        """Put the lock's end off on the keepers that have it for this run."""

        def renewed(host: Host) -> None:
            asked_at = seconds_since_boot()
            try:
                status, _ = self._asked(host, "renew", owner.run)
            except SteelyardError:
                return  # silent for a moment: the lock holds for three more beats
            if status == 0:
                self._lease.granted(host.name, asked_at)
            else:
                self._lease.taken_away(host.name)

        self._of(self._answering, renewed)

    def ended(self) -> SteelyardError | None:
        """Return why the lock is held no more: LockLost or LockLapsed; None while it is."""
        return self._lease.ended(seconds_since_boot())

    def release(self, owner: RunOwner) -> None:
        """Give the owner's locks up, where keepers answer; elsewhere they end by themselves."""
        self._of(self._answering, lambda host: self._release(host, owner.run))

    def _release(self, host: Host, run: str) -> None:
        try:
            self._asked(host, "release", run)
        except SteelyardError:
            pass

    def show(self) -> list[HeldLock]:
        """Return the fleet's lock and those of rollouts; with an alias, the fleet's and that one."""
        return self._kept("show")

    def force_unlock(self) -> list[HeldLock]:
        """Take locks away from whoever holds them; what was held is returned. With an alias, only that one."""
        return self._kept("break")

    def _kept(self, verb: str) -> list[HeldLock]:
        """What keepers tell; one that fails at it is silent. Raises the first one's error where all fail."""

        def kept(host: Host) -> list[KeptLock] | None:
            try:
                return kept_locks(host.name, self._asked(host, verb, "-")[1])
            except SteelyardError as error:
                self.silent[host.name] = error
                return None

        answers = [locks for locks in self._of(self._answering, kept) if locks is not None]
        if not answers:
            raise self.silent[self._answering[0].name]
        return held_locks([lock for locks in answers for lock in locks])

    def _of(self, hosts: Sequence[Host], ask: Callable[[Host], Answer]) -> list[Answer]:
        """Ask hosts side by side; return their answers in order."""
        if len(hosts) < 2:
            return [ask(host) for host in hosts]
        pool = Pool(len(hosts))
        try:
            return list(pool.imap(ask, hosts))
        except BaseException:
            pool.kill()
            raise

    def _asked(self, host: Host, verb: str, run: str, stdin: str | None = None) -> tuple[int, list[str]]:
        """Run the script on a keeper; return its exit code, 0, HELD or LOST, and its lines. Raises the host's own
        errors, and ConnectionLost with the step at which it ended.
        """
        arguments = (verb, QuoteString(run), str(self.ttl_s), QuoteString(self.name))
        command = StringCommand("sh -c", QuoteString(SCRIPT), "lock", *arguments, "; echo $?")
        try:
            ok, output = self._said(host, command, stdin)
        except HostError:
            # the host may have been rebooted by this very run: its lock lies on disk
            self._interrupted.add(host.name)
            try:
                ok, output = self._said(host, command, stdin)
            except HostError as problem:
                raise problem.error from None
        lines = output.stdout_lines
        status = int(lines[-1]) if ok and lines and lines[-1].isdecimal() else -1
        if status not in (0, HELD, LOST):
            step = STEPS.get(status, "the lock cannot be written")
            why = f"{step}: {output.stderr_lines[-1]}" if output.stderr_lines else step
            raise ConnectionLost(where=host.name, why=why)
        return status, lines[:-1]

    def _said(self, host: Host, command: StringCommand, stdin: str | None) -> tuple[bool, CommandOutput]:
        """What a command says; over a new connection where the last answer was lost, so that none is taken for
        another's.
        """
        if host.name in self._interrupted:
            host.connector.again()  # type: ignore[attr-defined]  # ours; the engine's sessions have no other
        self._interrupted.add(host.name)
        answer = host.run_shell_command(command, _stdin=stdin, _timeout=ANSWER_S, **sudo_arguments(host))
        self._interrupted.discard(host.name)
        return answer


def _runs_gone(answers: Iterable[KeeperAnswer]) -> dict[str, int]:
    """Return the runs that hold locks and have certainly ended, with the number that their process had."""
    owners = {lock.owner for answer in answers for lock in answer.locks if lock.owner is not None}
    return {owner.run: owner.pid for owner in owners if owner.is_gone()}


def seconds_since_boot() -> float:
    """Return this machine's time since its boot: nobody sets that clock, and it goes on while a machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@contextmanager
def held_lock(lock: FleetLock, owner: RunOwner, lost: Callable[[SteelyardError], None]) -> Iterator[None]:
    """Hold the lock, renewed in the background; `lost` gets the error when it is held no more. Raises what `take`
    raises.
    """
    lock.connect()
    try:
        lock.take(owner)
    except Stopped:
        lock.release(owner)  # the word may have arrived
        raise
    said: list[SteelyardError] = []

    def look() -> bool:
        error = None if said else lock.ended()
        if error is not None:
            said.append(error)
            lost(error)
        return not said

    def beat() -> None:
        gevent.sleep(lock.ttl_s / 4)
        while look():
            lock.renew(owner)
            if look():
                gevent.sleep(lock.ttl_s / 4)

    def guard() -> None:
        while look():
            gevent.sleep(LOOK_S)

    greenlets = [gevent.spawn(beat), gevent.spawn(guard)]
    try:
        yield
    finally:
        gevent.killall(greenlets)
        lock.release(owner)
