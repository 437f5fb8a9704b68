"""`steelyard rollout`: an alias moves to the version that models.yml declares, while the old one keeps serving."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from steelyard.errors import Exit

from .options import EVERYTHING, INVENTORY, InventoryPath, Json, NoColor, Quiet, VaultPasswordFile, Yes

AliasName = Annotated[str, typer.Argument(metavar="ALIAS", help="The name that clients ask for.")]
StrategyName = Annotated[
    str,
    typer.Option(
        "--strategy",
        metavar="NAME",
        help="auto, reload (weights in place), surge (a second engine beside it), swap (restart; the gateway holds requests) or sleep-swap (the same, and the old engine sleeps until the new one is confirmed).",
    ),
]
Prompts = Annotated[
    Path | None,
    typer.Option(
        "--prompts", metavar="FILE", help="Quality set: a JSON document a line, `prompt` or `messages`, and `expect`."
    ),
]
Waves = Annotated[str, typer.Option("--waves", metavar="N|P%", help="Hosts that switch together.")]
MaxFail = Annotated[str, typer.Option("--max-fail", metavar="N|P%", help="Hosts that may stay on the old version.")]
Undo = Annotated[
    int, typer.Option("--undo-after", min=10, metavar="S", help="Seconds after which a host undoes what nobody confirmed.")
]
Canary = Annotated[
    str | None,
    typer.Option("--canary", metavar="P%", help="Share of the requests that the first host gets while it is looked at."),
]
Watch = Annotated[
    int | None,
    typer.Option(
        "--watch",
        min=0,
        metavar="S",
        help="Seconds each wave is held against the old version: times and errors. [60 with --canary]",
    ),
]
Slower = Annotated[
    float, typer.Option("--slower", min=1, metavar="X", help="So many times slower than the old version is refused.")
]


def rollout(
    alias: AliasName,
    version: Annotated[
        str | None, typer.Argument(metavar="VERSION", help="The version, as models.yml declares it; not with --resume.")
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
    rate: Annotated[
        int | None, typer.Option("--rate", min=1, metavar="MBIT", help="Megabits per second that each host hands on, at most.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the rollout that was cut short.")] = False,
    vault_password_file: VaultPasswordFile = None,
    yes: Yes = False,
    json: Json = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> Exit:
    """Move an alias to a new version, wave by wave: fetch, verify, warm, switch, ask for a token and the quality set, confirm.

    A host that fails goes back by itself; where more fail than may, all go back. Exit 0: every service serves the version.
    1: refused, nothing changed. 3: a host did not answer. 5: it failed and was rolled back; the old version serves.
    """
    from steelyard.engine import patched  # noqa: F401  before the engine
    from steelyard.engine.waves import Share
    from steelyard.errors import NoRolloutToResume, VersionNotDeclared
    from steelyard.inventory.locate import locate
    from steelyard.render.screen import Screen
    from steelyard.rollout.journal import Journal
    from steelyard.rollout.prompts import read_prompts

    from .pushing import push_models
    from .rolling import Asked, known_strategy, looked_at, move_all, refuse_without_room, services_of
    from .stores import site_in
    from .work import Wanted, read, session

    screen = Screen(json=json, quiet=quiet, no_color=no_color)
    known_strategy(strategy)
    left = Journal.of(inventory, alias).unfinished() if resume else None
    if resume and left is None:
        raise NoRolloutToResume(where=str(inventory), alias=alias)
    asked_version = left["version"] if left else version
    quality = tuple(left["prompts"]) if left else tuple(read_prompts(prompts)) if prompts else ()
    serial, allowed = Share.parse(waves, "--waves", least=1), Share.parse(max_fail, "--max-fail")
    asked = Asked(strategy, quality, serial, allowed, undo_after, *looked_at(canary, watch), slower)
    wanted = Wanted(inventory, EVERYTHING, vault_password_file, None)
    fleet = read(wanted, screen)
    site = site_in(fleet)
    services = services_of(site, alias, inventory)
    project, declared = services[0].model, services[0].version
    if asked_version != declared:
        where = locate(fleet.path, None, ("models", project, "version"))
        raise VersionNotDeclared(
            where=where, alias=alias, model=project, version=str(asked_version or "..."), declared=declared
        )
    names = ",".join(service.host for service in services)
    with session(Wanted(inventory, names, vault_password_file, None), screen) as (_, opened):
        pushed = push_models(fleet, opened, site, [project], rate, screen)[project]
        if pushed.errors:
            raise next(iter(pushed.errors.values()))
        refuse_without_room(site, opened, services)
        run = left["run"] if left else None
        return move_all(wanted, fleet, site, opened, services, declared, asked, screen, "rollout", yes, run)
