"""An apply from its plan to its end: locked, journaled, audited, wave after wave, stopped where too much fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from steelyard.errors import Exit, SteelyardError, TooManyFailed
from steelyard.origin import Origin
from steelyard.outcome import Outcome

from .audit import Audit
from .execute import Execution
from .journal import Journal
from .lock import Keeper, locked
from .plan import Plan
from .session import Session
from .waves import FailLimit, Share, waves_of


@dataclass(frozen=True)
class Pace:
    """How fast, and how much may break. Without `serial` all hosts are one wave; without `max_fail` nothing stops it."""

    serial: Share | None = None
    max_fail: Share | None = None


@dataclass(frozen=True)
class Converged:
    """What was done. `stopped`: why it ended before its end."""

    plan: Plan
    stopped: SteelyardError | None = None

    @property
    def exit(self) -> Exit:
        failed = self.stopped is not None or self.plan.errors or self.plan.of(Outcome.SKIPPED)
        return Exit.HOST_FAILED if failed else Exit.DONE


def note_look(journal: Journal, origin: Origin, plan: Plan) -> None:
    """Where nothing is to be done, only hosts that could not be looked at are left for `--resume`."""
    journal.begin(origin, tuple(host.host for host in plan.hosts))
    for host in plan.hosts:
        journal.finished(host.host, host.error is None)


def converge(
    session: Session, keeper: Keeper, journal: Journal, pace: Pace, origin: Origin, mask: Callable[[str], str]
) -> Converged:
    """Carry out what `session.look(keep=True)` found. Raises FleetLocked before anything is touched."""
    limit = FailLimit(len(session.names), pace.max_fail)
    execution = Execution(session, limit, Audit(origin, mask), journal.finished)

    def halt(error: SteelyardError) -> None:
        execution.halted = error

    with locked(keeper, origin, halt):
        journal.begin(origin, session.names)
        plan = execution.run(list(waves_of(session.names, pace.serial)))
    stopped = execution.halted
    if stopped is None and limit.exceeded:
        skipped, allowed = len(plan.of(Outcome.SKIPPED)), limit.most
        stopped = TooManyFailed(
            where="--max-fail",
            failed=str(len(limit.failed)),
            total=str(limit.total),
            allowed=str(allowed),
            skipped=str(skipped),
        )
    return Converged(plan, stopped)
