"""An apply from its plan to its end: locked, journaled, audited, wave after wave, stopped where too much fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from steelyard.api.outcome import HostOutcome
from steelyard.engine.run_owner import RunOwner
from steelyard.errors import Exit, SteelyardError, TooManyFailed
from steelyard.events import Step
from steelyard.interrupts.signals import HANDLER, Interruption

from .audit import Audit
from .execute import Execution
from .journal import ApplyJournal
from .lock import FleetLock, held_lock
from .plan import Plan
from .run_turns import waves_in_order
from .session import Session
from .turn_table import Unseen
from .waves import FailLimit, Share, waves_of


@dataclass(frozen=True)
class WavePolicy:
    """Size of a wave, and how many hosts may fail. Without `serial` all hosts are one wave; without `max_fail` nothing
    stops it.
    """

    serial: Share | None = None
    max_fail: Share | None = None


@dataclass(frozen=True)
class ApplyResult:
    """Plan of what was done. `stopped`: why it ended before its end. `interrupted`: by which signal, where that left
    something undone.
    """

    plan: Plan
    stopped: SteelyardError | None = None
    interrupted: Interruption | None = None

    @property
    def exit(self) -> Exit:
        if self.interrupted is not None:
            return Exit.INTERRUPTED
        failed = self.stopped is not None or self.plan.errors or self.plan.of(HostOutcome.SKIPPED)
        return Exit.HOST_FAILED if failed else Exit.DONE


def journal_plan(journal: ApplyJournal, owner: RunOwner, plan: Plan) -> None:
    """Record a run with nothing to do: only hosts that could not be looked at are left for `--resume`."""
    journal.begin(owner, tuple(host.host for host in plan.hosts))
    for host in plan.hosts:
        journal.finished(host.host, host.error is None)


def apply_plan(
    session: Session,
    lock: FleetLock,
    journal: ApplyJournal,
    policy: WavePolicy,
    owner: RunOwner,
    mask: Callable[[str], str],
    unseen: Unseen = lambda servers: {},
) -> ApplyResult:
    """Carry out what `session.look(keep=True)` planned. `unseen`: asks gateways which that came back are not seen.

    Raises FleetLocked, LockUnreadable or KeepersSilent before anything is touched.
    """
    limit = FailLimit(len(session.names), policy.max_fail)
    execution = Execution(session, limit, Audit(owner, mask), journal.finished, unseen)

    def halt(error: SteelyardError) -> None:
        execution.halted = error

    def told(first: Interruption) -> None:
        session.emit(Step(f"{first.title}: nothing further is begun; once more: leave now"))
        for host, title in execution.running.items():
            session.emit(Step(f"{host}: `{title}` comes to its end first"))

    def last_words() -> list[str]:
        left = [f"{host}: nobody waits for `{title}` any more" for host, title in execution.running.items()]
        return [*left, "look at what is left: `steelyard plan`"]

    with held_lock(lock, owner, halt), HANDLER.orderly(told, last_words):
        journal.begin(owner, session.names)
        names = waves_in_order(session.names, execution.returning)
        plan = execution.run(list(waves_of(names, policy.serial)))
    stopped = execution.halted
    if stopped is None and limit.exceeded:
        skipped, allowed = len(plan.of(HostOutcome.SKIPPED)), limit.most
        stopped = TooManyFailed(
            where="--max-fail",
            failed=str(len(limit.failed)),
            total=str(limit.total),
            allowed=str(allowed),
            skipped=str(skipped),
        )
    cut_short = HANDLER.first if plan.of(HostOutcome.SKIPPED) and execution.halted is None else None
    return ApplyResult(plan, stopped, cut_short)
