"""`steelyard logs`: journals of the right units, of all hosts concerned, in the order of time."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from steelyard.errors import Exit, UsageWrong
from steelyard.interrupts.signals import HANDLER, Stopped

from .common import Run, command


@command(hosts=True)
def logs(
    targets: Annotated[
        list[str],
        typer.Argument(metavar="TARGET...", help="Aliases, services, models or hosts; `gateway`, `dify`, `mirror`."),
    ],
    run: Run,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes, until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, metavar="N", help="So many of the last lines.")] = 100,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="TEXT", help="All since then instead: `2026-11-30 10:00`, `-1h`, `today`."),
    ] = None,
    unit: Annotated[
        list[str] | None,
        typer.Option("--unit", "-u", metavar="KIND", help="engine, front, watch, undo, gateway, ...; repeatable."),
    ] = None,
) -> Exit:
    """Show journals of an alias, host or gateway. All hosts concerned together, in the order of time.

    Without `--unit`: of an alias its engines, a second and a lazy one's proxy too; of a host all of ours. Secrets are
    masked, and what a terminal would obey is escaped. With `--json` one object a line. Followed, it connects again
    where a connection is lost, and Ctrl-C ends it with 0.

    Exit 0: every host answered. 3: one did not. 4: no such target.
    """
    from steelyard.render.logs import show_logs
    from steelyard.site.resolve import site_of
    from steelyard.workflows.log_targets import KINDS, units_by_host
    from steelyard.workflows.read_logs import LogReader, LogRequest
    from steelyard.workflows.run_context import open_session

    wrong = [kind for kind in unit or () if kind not in KINDS]
    if wrong:
        raise UsageWrong(
            where="steelyard logs", why=f"no kind of unit is called `{wrong[0]}`; there are {', '.join(KINDS)}"
        )
    units = units_by_host(site_of(run.read()), targets, unit or ())
    if not units:
        run.screen.note("nothing of that kind runs there")
        return Exit.DONE
    run.limit = ",".join(units)
    coloured = sys.stdout.isatty() and not run.screen.no_color

    # how many hosts are connected is not said between the lines
    with run.screen.still(), open_session(run.options, run.screen.event) as (_, session):
        reader = LogReader(session, LogRequest(units, lines, since, follow), run.screen.note)
        try:
            for batch in reader.batches():
                show_logs(run.screen, batch, max(map(len, units)), coloured)
                sys.stdout.flush()
        except Stopped as stopped:
            if not stopped.interruption.by_hand:
                raise
            HANDLER.absorb()
            return Exit.DONE
        run.errors = dict(session.errors)
    run.screen.failures()
    return run.exit()
