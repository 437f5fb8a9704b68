"""`steelyard bench`: what hosts are capable of, measured there and kept there for `auto` to use."""

from __future__ import annotations

from typing import Annotated

import typer

from steelyard.errors import Exit

from .options import EVERYTHING, INVENTORY, InventoryPath, Json, LimitTo, NoColor, Quiet, VaultPasswordFile

app = typer.Typer(help="Measurements on hosts, whose results settings of `auto` use.", no_args_is_help=True)


@app.callback()
def bench() -> None:
    """Measurements on hosts, whose results settings of `auto` use."""


@app.command()
def load(
    models: Annotated[
        list[str] | None, typer.Argument(metavar="[MODEL]...", help="Declared models; all of them if not given.")
    ] = None,
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="Samples of each.")] = 5,
    ways: Annotated[
        str, typer.Option("--ways", metavar="A,B", help="Only these ways, besides the engine's default; nothing is kept.")
    ] = "",
    inventory: InventoryPath = INVENTORY,
    limit: LimitTo = EVERYTHING,
    vault_password_file: VaultPasswordFile = None,
    json: Json = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> Exit:
    """Measure how fast each host's engine loads the largest of these models: cold and warm, every way that it has.

    The engine's own loaders read every byte into the model, in turns, in a unit without network. The fastest way that beats the
    engine's default beyond noise is kept on the host, where `load_strategy: auto` finds it. On a GPU stop the service first: it
    has the memory. Exit 0: measured. 3: a host did not answer, or could not measure.
    """
    from steelyard.render.loading import show_loads
    from steelyard.render.screen import Screen

    from .loads import Loads
    from .stores import chosen_models, site_in
    from .work import Wanted, session

    screen = Screen(json=json, quiet=quiet, no_color=no_color)
    with session(Wanted(inventory, limit, vault_password_file, None), screen) as (fleet, opened):
        site = site_in(fleet)
        loads = Loads(site, chosen_models(inventory, site, models), repeats, ways, screen.event)
        opened.each(loads.measure)
        errors = opened.errors
    show_loads(screen, loads.found, loads.failed, errors)
    return Exit.HOST_FAILED if errors or loads.failed else Exit.DONE
