"""`steelyard bench`: what hosts are capable of, measured there and kept there for `auto` to use."""

from __future__ import annotations

from typing import Annotated

import typer

from steelyard.errors import Exit

from .common import Run, command
from .options import ModelNames

app = typer.Typer(help="Measurements on hosts, whose results settings of `auto` use.", no_args_is_help=True)


@app.callback()
def bench() -> None:
    """Measurements on hosts, whose results settings of `auto` use."""


@app.command()
@command(limit=True)
def load(
    *,
    models: ModelNames = None,
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="Samples of each.")] = 5,
    ways: Annotated[
        str,
        typer.Option("--ways", metavar="A,B", help="Only these ways, besides the engine's default; nothing is kept."),
    ] = "",
    run: Run,
) -> Exit:
    """Measure how fast each host's engine loads a model. The largest of these, cold and warm, in every way that the
    engine has.

    The engine's own loaders read every byte into the model, in turns, in a unit without network. The fastest way that
    beats the
    engine's default beyond noise is kept on the host, where `load_strategy: auto` finds it. On a GPU stop the service
    first: it
    has the memory. Exit 0: measured. 3: a host did not answer, or could not measure.
    """
    from steelyard.render.loading import show_loads
    from steelyard.workflows.models.bench_load import LoadBench
    from steelyard.workflows.models.store_queries import chosen_models, site_in

    with run.session() as (fleet, session):
        site = site_in(fleet)
        loads = LoadBench(site, chosen_models(run.inventory, site, models), repeats, ways, run.screen.event)
        session.each(loads.measure, "measuring")
    show_loads(run.screen, loads.measured, loads.failed, run.errors)
    return run.exit(Exit.HOST_FAILED if loads.failed else Exit.DONE)
