"""`steelyard rollback`: an alias goes back to a version that its hosts still hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from steelyard.errors import Exit, NoVersionBefore

from .options import EVERYTHING, INVENTORY, InventoryPath, Json, NoColor, Quiet, VaultPasswordFile, Yes
from .rollout import AliasName, Canary, MaxFail, Prompts, Slower, StrategyName, Undo, Watch, Waves

if TYPE_CHECKING:
    from steelyard.site import Service


def rollback(
    alias: AliasName,
    version: Annotated[
        str | None,
        typer.Argument(metavar="[VERSION]", help="A version that hosts hold; the one they served before, if not given."),
    ] = None,
    inventory: InventoryPath = INVENTORY,
    strategy: StrategyName = "auto",
    waves: Waves = "1",
    max_fail: MaxFail = "0",
    prompts: Prompts = None,
    undo_after: Undo = 300,
    canary: Canary = None,
    watch: Watch = None,
    slower: Slower = 1.5,
    vault_password_file: VaultPasswordFile = None,
    yes: Yes = False,
    json: Json = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> Exit:
    """Go back to the version before, or to another one that hosts hold: nothing is fetched, and nothing but the hosts is asked.

    It passes the same gates as a rollout, and fails like one. models.yml is yours: it still declares the other version.
    """
    from steelyard.engine import patched  # noqa: F401  before the engine
    from steelyard.engine.waves import Share
    from steelyard.render.screen import Screen
    from steelyard.rollout.prompts import read_prompts

    from .rolling import Asked, Helpers, known_strategy, looked_at, move_all, services_of, states_of
    from .stores import site_in
    from .work import Wanted, read, session

    screen = Screen(json=json, quiet=quiet, no_color=no_color)
    known_strategy(strategy)
    quality = tuple(read_prompts(prompts)) if prompts else ()
    serial, allowed = Share.parse(waves, "--waves", least=1), Share.parse(max_fail, "--max-fail")
    asked = Asked(strategy, quality, serial, allowed, undo_after, *looked_at(canary, watch), slower)
    wanted = Wanted(inventory, EVERYTHING, vault_password_file, None)
    fleet = read(wanted, screen)
    site = site_in(fleet)
    services = services_of(site, alias, inventory)
    project = services[0].model
    with session(Wanted(inventory, ",".join(s.host for s in services), vault_password_file, None), screen) as (_, opened):
        opened.each(lambda host: None)
        helpers = Helpers(opened, services[0].name, site.model_root, project)
        states = states_of(opened, helpers)
        back = version or _before(services, states, alias)
        return move_all(wanted, fleet, site, opened, services, back, asked, screen, "rollback", yes)


def _before(services: tuple[Service, ...], states: dict[str, dict[str, Any]], alias: str) -> str:
    """The one version that all hosts served before. Raises NoVersionBefore."""
    found = {states[service.host]["previous"] for service in services}
    [before] = found if len(found) == 1 else [None]
    if before is None:
        raise NoVersionBefore(where=services[0].host, alias=alias, model=services[0].model)
    return str(before)
