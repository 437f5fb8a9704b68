"""`steelyard status`: what runs where, now, and from now on."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from steelyard.errors import Exit, UsageWrong
from steelyard.interrupts.signals import HANDLER, Stopped

from .common import Run, command

if TYPE_CHECKING:
    from steelyard.render.screen import Screen
    from steelyard.render.watch import Look


@command(limit=True, verbose=True)
def status(
    run: Run,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Look again and again; without a terminal, a line per change.")
    ] = False,
    every: Annotated[float, typer.Option("--every", min=1, metavar="S", help="Seconds between two looks.")] = 5,
) -> Exit:
    """Show hosts, services and how gateways see them. From live state, with one SSH exec per host.

    A gateway costs one more. With `-v` GPUs and the engines' own counts too. `--watch` goes on until Ctrl-C, which ends
    it with 0.

    Exit 0: every host answered. 3: one did not.
    """
    if watch and run.screen.json:
        raise UsageWrong(where="steelyard status", why="`--json` is one document, and `--watch` goes on")
    from datetime import UTC, datetime

    from steelyard.render.fleet import show_status
    from steelyard.render.watch import Look
    from steelyard.site.observed import service_rows
    from steelyard.site.resolve import site_of
    from steelyard.workflows.host_status import GATEWAYS, look

    with run.session() as (fleet, session):
        site, gateways = site_of(fleet), fleet.groups.get(GATEWAYS, ())
        asked = [name for name in session.names if name in gateways]

        def once() -> Look:
            observed = look(session, gateways, passing=watch)
            run.errors = dict(session.errors)
            rows = service_rows(site, observed, session.names)
            return Look(fleet, observed, rows, run.errors, asked, f"{datetime.now(UTC):%H:%M:%SZ}")

        if watch:
            return _watched(run, every, once)
        seen = once()
    show_status(run.screen, fleet, seen.observed, seen.rows, run.errors, asked)
    return run.exit()


def _watched(run: Run, every: float, once: Callable[[], Look]) -> Exit:
    """Look until somebody ends it: one picture on a terminal, else the first look whole and then what changes."""
    try:
        if sys.stdout.isatty():
            _on_a_terminal(run.screen, every, once)
        _in_a_log(run, every, once)
    except Stopped as stopped:
        if not stopped.interruption.by_hand:
            raise
        HANDLER.absorb()
        if sys.stdout.isatty():
            print("\r\x1b[K", end="", flush=True)  # what the terminal itself writes for Ctrl-C
        return Exit.DONE


def _on_a_terminal(screen: Screen, every: float, once: Callable[[], Look]) -> NoReturn:
    import gevent

    from steelyard.render.watch import Picture

    picture, seen = Picture(screen, every), once()
    with screen.still():  # the picture has the whole screen
        try:
            while True:
                picture.show(seen)
                gevent.sleep(every)
                seen = once()
        except Stopped as stopped:
            if stopped.interruption.by_hand:
                HANDLER.absorb()
                picture.show(seen)  # what the terminal itself writes for Ctrl-C may stand anywhere in it
            raise


def _in_a_log(run: Run, every: float, once: Callable[[], Look]) -> NoReturn:
    import gevent

    from steelyard.render.fleet import show_status
    from steelyard.site.observed import changes

    seen = once()
    show_status(run.screen, seen.fleet, seen.observed, seen.rows, seen.errors, seen.asked)
    while True:
        sys.stdout.flush()
        gevent.sleep(every)
        before, seen = seen, once()
        run.screen.reasons()  # told below, in a line
        silent, was = seen.errors.keys(), before.errors.keys()
        moved = [f"{name}: does not answer" for name in silent - was]
        moved += [f"{name}: answers again" for name in was - silent]
        run.screen.lines([f"{seen.at} {line}" for line in (*sorted(moved), *changes(before.rows, seen.rows))])
