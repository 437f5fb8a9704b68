"""`steelyard models fit`: whether versions have room where they are declared to be served, with the numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from steelyard.errors import Exit

from .model_hosts import Which
from .options import EVERYTHING, INVENTORY, InventoryPath, Json, LimitTo, NoColor, Quiet, VaultPasswordFile

if TYPE_CHECKING:
    from steelyard.engine.session import Session
    from steelyard.models.fitting import Fitting
    from steelyard.site import Service, Site


def fit(
    models: Which = None,
    inventory: InventoryPath = INVENTORY,
    limit: LimitTo = EVERYTHING,
    gpu_gib: Annotated[
        float | None,
        typer.Option("--gpu-gib", min=1, metavar="GIB", help="Memory of a GPU; hosts are then not asked, and need not exist."),
    ] = None,
    gpus: Annotated[int, typer.Option("--gpus", min=1, help="With --gpu-gib: GPUs of a host.")] = 8,
    vault_password_file: VaultPasswordFile = None,
    json: Json = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> Exit:
    """Hold declared versions against the memory of the hosts that serve them; say what does not fit, and what would.

    Weights and context come from the version's own files and are exact to a percent or two; what an engine needs to work with is
    an estimate. A plan refuses by the same numbers. Exit 0: all fit. 2: one does not, or its files do not tell. 3: a host did
    not answer.
    """
    from steelyard.inventory.limit import Limit
    from steelyard.render.fitting import show_fittings
    from steelyard.render.screen import Screen

    from .stores import chosen_models, site_in
    from .work import Wanted, read, session

    screen = Screen(json=json, quiet=quiet, no_color=no_color)
    wanted = Wanted(inventory, limit, vault_password_file, None)
    errors: dict[str, Any] = {}
    if gpu_gib is not None:
        fleet = read(wanted, screen)
        site = site_in(fleet)
        rows = _imagined(site, Limit(limit).select(fleet), gpu_gib, gpus)
    else:
        with session(wanted, screen) as (fleet, opened):
            site = site_in(fleet)
            rows = fittings_on(site, opened)
            errors = opened.errors
    chosen = chosen_models(inventory, site, models)
    rows = [row for row in rows if row.model in chosen]
    show_fittings(screen, rows, errors)
    if errors:
        return Exit.HOST_FAILED
    return Exit.CHANGES if any(row.verdict in ("no", "unknown") for row in rows) else Exit.DONE


def _imagined(site: Site, names: tuple[str, ...], gpu_gib: float, gpus: int) -> list[Fitting]:
    """On hosts with `gpus` GPUs of `gpu_gib` each."""
    from steelyard.models.declared import declared_figures
    from steelyard.models.fitting import fittings
    from steelyard.models.room import GIB

    device = {"memory_bytes": int(gpu_gib * GIB), "name": f"{gpu_gib:g} GiB GPU"}
    memory: dict[str, Any] = {"devices": [device] * gpus, "pci": [], "memory_bytes": 0}
    return [row for name in names for row in fittings(name, declared_figures(site, site.services_on(name)), memory)]


def fittings_on(site: Site, opened: Session) -> list[Fitting]:
    """On the hosts as they are."""
    from steelyard.models.fitting import fittings
    from steelyard.modules.connectors.ask import ask

    found: dict[str, list[Fitting]] = {}
    figures: dict[tuple[str, str], dict[str, Any]] = {}

    def look(host: Any) -> None:
        services = site.services_on(host.name)
        memory = ask(host, "memory") if services else None
        if memory is not None:
            known = [(service, _figures(site, service, host, figures)) for service in services]
            rows = [(service, those) for service, those in known if those is not None]
            found[host.name] = fittings(host.name, rows, memory)

    opened.each(look)
    return [row for name in opened.names for row in found.get(name, [])]


def _figures(site: Site, service: Service, host: Any, kept: dict[tuple[str, str], dict[str, Any]]) -> dict[str, Any] | None:
    """Of the source on this machine, else of what the host has."""
    from steelyard.models.declared import declared_figures
    from steelyard.models.manifest import Manifest
    from steelyard.modules.connectors.ask import ask

    key = service.model, service.version
    if key not in kept:
        here = declared_figures(site, [service])
        shown = None if here else ask(host, "store-manifest", site.model_root, *key)
        if here:
            kept[key] = here[0][1]
        elif shown is not None:
            kept[key] = Manifest.of_json(shown).fit
    return kept.get(key)
