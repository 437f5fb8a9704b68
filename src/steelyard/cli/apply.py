"""`steelyard apply`: makes the hosts what is declared."""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from steelyard.errors import Exit

from .common import Run, command
from .options import Prune, WithGateway

if TYPE_CHECKING:
    from steelyard.engine.apply import ApplyResult, WavePolicy
    from steelyard.engine.plan import Plan
    from steelyard.engine.saved import SavedPlan
    from steelyard.engine.session import Session
    from steelyard.errors import ApplyInterrupted
    from steelyard.interrupts.signals import Interruption
    from steelyard.inventory.fleet import Fleet
    from steelyard.render.screen import Screen
    from steelyard.workflows.run_context import RunOptions


@command(inventory="optional", limit=True, deploy=True, vault_first=True, yes=True, verbose=True)
def apply(
    run: Run,
    plan: Annotated[
        Path | None, typer.Argument(metavar="[PLAN]", help="A plan saved by `plan -o`: exactly that, or nothing.")
    ] = None,
    serial: Annotated[
        str | None,
        typer.Option("--serial", metavar="N|P%", help="Hosts per wave; the next begins when one is through."),
    ] = None,
    max_fail: Annotated[
        str | None,
        typer.Option("--max-fail", metavar="N|P%", help="Hosts that may fail; with --serial 0, else any number."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Only hosts that the last apply failed on or did not reach.")
    ] = False,
    with_gateway: WithGateway = False,
    prune: Prune = False,
    hold: Annotated[
        int | None,
        typer.Option("--hold", metavar="SECONDS", min=1, max=3600, help="Gateways hold requests so long meanwhile."),
    ] = None,
) -> Exit:
    """Make the hosts what is declared. Shows the plan and asks first; without a terminal, `--yes` is needed.

    Exit 0: done, or nothing to do. 3: a host was unreachable, a task failed, or the fleet is locked. 1 and 4: nothing
    was touched.
    """
    from steelyard.inventory.choice import choose_inventory

    pace = _pace(serial, max_fail)
    if plan is not None:
        return apply_saved(run, plan, pace, hold)
    run.named_inventory = run.named_inventory or choose_inventory("steelyard apply")
    options = replace(run.options, resume=resume, with_gateway=with_gateway, pruning=prune)
    return apply_declared(run, pace, options, hold)


def apply_declared(
    run: Run, pace: WavePolicy | None = None, options: RunOptions | None = None, hold_s: int | None = None
) -> Exit:
    """Look at the run's hosts, ask, and make them what is declared; `options` where they are not the run's own.

    `hold_s`: seconds that gateways hold requests meanwhile.
    """
    from steelyard.render.plan import apply_question, show_plan
    from steelyard.render.removals import show_removals
    from steelyard.workflows.restarts import advice_of_restarts
    from steelyard.workflows.run_context import advice_of_left_out

    options = options or run.options
    with run.session(options) as (fleet, session):
        planned = session.look(keep=True)
        refuse_used(run.screen, planned)
        if not planned.pending:
            return _nothing_to_do(run, options, planned)
        run.screen.advice += advice_of_left_out(options, fleet, planned)
        run.screen.advice += advice_of_restarts(fleet, planned, hold_s)
        if not run.confirmed(
            apply_question(planned),
            where="steelyard apply",
            changes=planned.changes,
            look="see them with `steelyard plan`",
            show=lambda: show_plan(run.screen, planned),
        ):
            return Exit.USAGE
        if options.pruning:
            show_removals(run.screen, planned)
        applied = _carry_out(run, options, fleet, session, pace, hold_s)
    return _show(run, applied, options)


def apply_saved(run: Run, path: Path, pace: WavePolicy, hold_s: int | None = None) -> Exit:
    """Carry out a saved plan, or nothing where anything else would happen now. Raises PlanFileWrong, PlanMoved."""
    from steelyard.engine.saved import read_plan
    from steelyard.render.plan import planned_sums
    from steelyard.workflows.run_context import RunOptions, advice_of_left_out
    from steelyard.workflows.saved_plans import differences_now

    saved = read_plan(path)
    inventory = run.named_inventory or Path(saved.inventory)
    options = RunOptions(inventory, saved.limit, run.vault_password_file, saved.deploy)
    options = replace(options, pruning=saved.pruning, with_gateway=saved.with_gateway)
    with run.session(options) as (fleet, session):
        planned = session.look(keep=True)
        lines = differences_now(saved, options, session, planned)
        if lines:
            _refuse(run, path, saved, lines)
        refuse_used(run.screen, planned)
        if not planned.pending:
            return _nothing_to_do(run, options, planned)
        run.screen.note(planned_sums(planned))
        run.screen.advice += advice_of_left_out(options, fleet, planned)
        applied = _carry_out(run, options, fleet, session, pace, hold_s)
    return _show(run, applied, options)


def refuse_used(screen: Screen, planned: Plan) -> None:
    """A model that is to go is used by nobody, else its engine would stop, and its users fail; and one that embeds is
    moved to no other vectors. Raises DifyModelUsed, DifyUsersUnseen or DifyVectorsChanged, with those of further models
    on the screen; where only Dify changes, no engine does, and Dify's own task keeps what is used.
    """
    from steelyard.errors import DifyModelUsed, DifyUsersUnseen, DifyVectorsChanged

    kinds = DifyModelUsed | DifyUsersUnseen | DifyVectorsChanged
    used = [error for error in planned.refused if isinstance(error, kinds)]
    if not used or {task.role for host in planned.hosts for task in host.tasks} <= {"dify"}:
        return
    for error in used[:-1]:
        screen.error(error)
    raise used[-1]


def _refuse(run: Run, path: Path, saved: SavedPlan, lines: list[str]) -> None:
    """Show what differs from a saved plan, and raise PlanMoved."""
    from steelyard.errors import PlanMoved
    from steelyard.render.text import hosts_named

    for line in lines:
        run.screen.note(line)
    names = sorted({line.split()[1].rstrip(":") for line in lines})
    given = ("-i", saved.inventory, "-l", saved.limit, "--deploy", saved.deploy)
    options = " ".join(shlex.quote(word) for word in given)
    raise PlanMoved(where=str(path), differences=hosts_named(names), options=options)


def _pace(serial: str | None, max_fail: str | None) -> WavePolicy:
    """The pace of the waves; they stop at the first failure unless told otherwise: that is what waves are for."""
    from steelyard.engine.apply import WavePolicy
    from steelyard.engine.waves import Share

    size = Share.parse(serial, "--serial", least=1) if serial is not None else None
    allowed = Share.parse(max_fail, "--max-fail") if max_fail is not None else Share(0) if size else None
    return WavePolicy(size, allowed)


def _interrupted(applied: ApplyResult, first: Interruption, options: RunOptions) -> ApplyInterrupted:
    """The error of an apply that a signal cut short, with the call that goes on: of its hosts, at its pace."""
    from steelyard.api.outcome import HostOutcome
    from steelyard.errors import ApplyInterrupted
    from steelyard.render.text import hosts_named

    from .stopped import call_of

    left = [host.host for host in applied.plan.of(HostOutcome.SKIPPED)]
    call = ["apply", "-i", str(options.inventory), "--deploy", str(options.deploy), "--resume"]
    if options.limit != "all":
        call += ["-l", options.limit]
    call += ["--with-gateway"] if options.with_gateway else []
    call += ["--prune"] if options.pruning else []
    if {"--yes", "-y"} & {*sys.argv}:  # where nobody could be asked, nobody can be now
        call.append("--yes")
    for option in ("--serial", "--max-fail", "--hold"):  # a resumed run keeps its pace
        for at, word in enumerate(sys.argv):
            if word.split("=")[0] == option:
                call += [word] if "=" in word else sys.argv[at : at + 2]
    return ApplyInterrupted(
        where="steelyard apply",
        signal=first.title,
        left=f"; not through: {hosts_named(left)}",
        again=call_of(call),
    )


def _nothing_to_do(run: Run, options: RunOptions, planned: Plan) -> Exit:
    """Note that every host was looked at, and show why nothing was applied."""
    from steelyard.engine.apply import journal_plan
    from steelyard.engine.run_owner import RunOwner
    from steelyard.render.plan import show_applied
    from steelyard.workflows.run_context import journal_of

    journal_plan(journal_of(options), RunOwner.here(f"apply {options.deploy}"), planned)
    code = Exit.HOST_FAILED if planned.errors else Exit.DONE
    show_applied(run.screen, planned, code)
    return code


def _carry_out(
    run: Run, options: RunOptions, fleet: Fleet, session: Session, pace: WavePolicy | None, hold_s: int | None
) -> ApplyResult:
    """Apply the session's plan with the fleet's lock. Raises FleetLocked, or HelperRefused of a gateway that holds
    nothing.
    """
    from steelyard.engine.apply import WavePolicy, apply_plan
    from steelyard.engine.run_owner import RunOwner
    from steelyard.workflows.gateway_view import gateway_view
    from steelyard.workflows.run_context import fleet_lock, journal_of, site_when_asked
    from steelyard.workflows.site_hosts import remember

    owner, emit = RunOwner.here(f"apply {options.deploy}"), run.screen.event
    with fleet_lock(options, fleet, emit) as lock, gateway_view(fleet, site_when_asked(fleet, emit), emit) as gateways:
        journal, pace = journal_of(options), pace or WavePolicy()
        with gateways.holding(hold_s):
            applied = apply_plan(session, lock, journal, pace, owner, run.screen.mask, gateways.unseen)
        through = [host.host for host in applied.plan.hosts if host.error is None and not host.skipped]
        remember(fleet, through, lock.host)
        return applied


def _show(run: Run, applied: ApplyResult, options: RunOptions) -> Exit:
    from steelyard.render.plan import show_applied

    stopped = applied.stopped
    if applied.interrupted is not None:
        stopped = _interrupted(applied, applied.interrupted, options)
    show_applied(run.screen, applied.plan, applied.exit, stopped)
    return applied.exit
