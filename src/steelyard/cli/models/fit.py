"""`steelyard models fit`: whether versions have room where they are declared to be served, with the numbers."""

from __future__ import annotations

from typing import Annotated

import typer

from steelyard.cli.common import Run, command
from steelyard.cli.options import ModelNames
from steelyard.errors import Exit


@command(limit=True)
def fit(
    run: Run,
    models: ModelNames = None,
    gpu_gib: Annotated[
        float | None,
        typer.Option(
            "--gpu-gib", min=1, metavar="GIB", help="Memory of a GPU; hosts are then not asked, and need not exist."
        ),
    ] = None,
    gpus: Annotated[int, typer.Option("--gpus", min=1, help="With --gpu-gib: GPUs of a host.")] = 8,
) -> Exit:
    """Say which declared versions fit their hosts, and what would. Held against the memory of the hosts that serve
    them.

    Weights and context come from the version's own files and are exact to a percent or two; what an engine needs to
    work with is an estimate. A plan refuses by the same numbers. Exit 0: all fit. 2: one does not, or its files do not
    tell. 3: a host did not answer.
    """
    from steelyard.inventory.limit import Limit
    from steelyard.render.fitting import show_fittings
    from steelyard.workflows.models.fit_on_hosts import fit_of_imagined_hosts, fit_on_hosts
    from steelyard.workflows.models.store_queries import chosen_models, site_in

    if gpu_gib is not None:
        fleet = run.read(run.offline)
        site = site_in(fleet)
        rows = fit_of_imagined_hosts(site, Limit(run.limit).select(fleet), gpu_gib, gpus)
    else:
        with run.session() as (fleet, session):
            site = site_in(fleet)
            rows = fit_on_hosts(site, session)
    chosen = chosen_models(run.inventory, site, models)
    rows = [row for row in rows if row.model in chosen]
    show_fittings(run.screen, rows, run.errors)
    return run.exit(Exit.CHANGES if any(row.verdict in ("no", "unknown") for row in rows) else Exit.DONE)
