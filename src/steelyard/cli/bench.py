"""`steelyard bench`: what hosts are capable of, measured there and kept there for `auto` to use."""

from __future__ import annotations

import json as jsonlib
from typing import TYPE_CHECKING, Annotated, Any

import typer

from steelyard.errors import Exit

from .options import EVERYTHING, INVENTORY, InventoryPath, Json, LimitTo, NoColor, Quiet, VaultPasswordFile

if TYPE_CHECKING:
    from steelyard.models.loading import Measured
    from steelyard.render.screen import Screen
    from steelyard.site import Site

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

    from .stores import chosen_models, site_in
    from .work import Wanted, session

    screen = Screen(json=json, quiet=quiet, no_color=no_color)
    found: dict[tuple[str, str], Measured] = {}
    failed: dict[str, str] = {}
    with session(Wanted(inventory, limit, vault_password_file, None), screen) as (fleet, opened):
        site = site_in(fleet)
        chosen = chosen_models(inventory, site, models)
        opened.each(lambda host: _measure(host, site, chosen, repeats, found, failed, screen))
        errors = opened.errors
    show_loads(screen, found, failed, errors)
    return Exit.HOST_FAILED if errors or failed else Exit.DONE


def _measure(
    host: Any,
    site: Site,
    chosen: list[str],
    repeats: int,
    found: dict[tuple[str, str], Measured],
    failed: dict[str, str],
    screen: Screen,
) -> None:
    """The largest of the host's models stands for all of them."""
    from pyinfra.api.command import QuoteString, StringCommand

    from steelyard.events import Step
    from steelyard.host_helper import RUN_HELPER
    from steelyard.models.artefacts import sharded_project
    from steelyard.models.loading import Measured
    from steelyard.modules.connectors.ask import ask
    from steelyard.settings import role_settings, settings_from

    settings: dict[str, Any] = {
        name: settings_from(model, host.data) for name, model in role_settings().items() if name in ("vllm", "base")
    }
    services = [service for service in site.services_on(host.name) if service.model in chosen]
    if not services:
        return
    listed = ask(host, "store-list", site.model_root) or {"versions": []}
    sizes = {(row["project"], row["version"]): row["bytes"] for row in listed["versions"]}
    service = max(services, key=lambda each: sizes.get((each.model, each.version), 0))
    size = sizes.get((service.model, service.version))
    if size is None:
        failed[host.name] = f"{service.model} {service.version} is not published there"
        return
    engine, folder = (
        f"/opt/steelyard/engines/vllm-{settings['vllm'].version}",
        f"{site.model_root}/{service.model}/{service.version}",
    )
    words: tuple[str, ...] = (
        service.name,
        engine,
        folder,
        str(service.serve.tensor_parallel_size),
        str(repeats),
        settings["base"].engine_user,
    )
    variant = next((row for row in listed["versions"] if row["project"] == sharded_project(service.model)), None)
    if variant is not None:
        words = (*words, "--sharded", f"{site.model_root}/{variant['project']}/{variant['version']}")
    talk = host.connector.converse(StringCommand(RUN_HELPER, "load-bench", *(QuoteString(word) for word in words)))
    measured: Measured | None = None
    for said in talk.told():
        if measured is None and "strategies" in said:
            measured = Measured(said)
        elif measured is not None and "strategy" in said:
            measured.take(said)
            screen.event(
                Step(
                    f"{host.name}: {said['cache']}: {said['strategy']}: "
                    + (f"{said['seconds']:.2f} s" if "seconds" in said else said["error"])
                )
            )
        elif "error" in said:
            failed[host.name] = str(said["error"])
    talk.close()
    if measured is not None and measured.samples and host.name not in failed:
        found[host.name, service.model] = measured
        ask(host, "load-record", engine, jsonlib.dumps(measured.as_facts(service.model, service.version, size)))
    elif host.name not in failed:
        failed[host.name] = (
            "; ".join(f"{name}: {why}" for name, why in measured.errors.items()) if measured else "the probe said nothing"
        )
