"""`steelyard models`: what the hosts' stores hold, and how versions get there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from steelyard.errors import Exit

from .options import EVERYTHING, INVENTORY, InventoryPath, Json, LimitTo, NoColor, Quiet, VaultPasswordFile, Yes

if TYPE_CHECKING:
    from steelyard.engine.session import Session
    from steelyard.inventory.fleet import Fleet
    from steelyard.models.push import Pushed
    from steelyard.site import Site

app = typer.Typer(help="Versions of models on the hosts.", no_args_is_help=True)
Which = Annotated[list[str] | None, typer.Argument(metavar="[MODEL]...", help="Declared models; all of them if not given.")]


@app.command()
def add(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Project name, as in models.yml.")],
    version: Annotated[str, typer.Argument(metavar="VERSION", help="Name of the version.")],
    source: Annotated[str, typer.Option("--source", metavar="URI", help="hf://ORG/NAME@REVISION, or file:///folder.")],
    code: Annotated[bool, typer.Option("--code", help="The version may hold code, which an engine may run.")] = False,
    inventory: InventoryPath = INVENTORY,
    vault_password_file: VaultPasswordFile = None,
    json: Json = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> Exit:
    """Fetch a version's files to this machine, hold them against the source's own hashes, and say what to declare.

    A revision is pinned to its commit. What was fetched before, also by other programs of the Hub, is not fetched again.
    The token is `hf_token` of the inventory (vault) or HF_TOKEN; `hf_mirrors` are tried where the Hub does not answer.
    Exit 0: it is here. 1: it is not; nothing of it can be declared.
    """
    from steelyard.events import BytesMoved
    from steelyard.models.hub import fetch, parse
    from steelyard.models.source import read_manifest
    from steelyard.render.models import show_added
    from steelyard.render.screen import Screen

    from .work import Wanted, read

    screen = Screen(json=json, quiet=quiet, no_color=no_color)
    variables = read(Wanted(inventory, EVERYTHING, vault_password_file, None), screen).hosts[0].variables
    licence = None
    if source.startswith("file://"):
        pinned = source
    else:
        mirrors = [None, *(str(mirror) for mirror in variables.get("hf_mirrors") or ())]
        token = str(variables["hf_token"]) if variables.get("hf_token") else None
        moved = lambda done, total: screen.event(BytesMoved("this machine", source, done, total))  # noqa: E731
        found, record = fetch(parse(source, "--source"), model, mirrors, token, code, moved)
        pinned, licence = found.uri, record["licence"]
    show_added(screen, model, version, pinned, licence, read_manifest(model, pinned, "--source", code), code)
    return Exit.DONE


@app.command()
def ls(
    inventory: InventoryPath = INVENTORY,
    limit: LimitTo = EVERYTHING,
    vault_password_file: VaultPasswordFile = None,
    json: Json = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> Exit:
    """List every version on every host: size, what it alone takes, current, in use, altered since it was published.

    Exit 0: listed. 3: a host did not answer.
    """
    from steelyard.render.models import show_versions
    from steelyard.render.screen import Screen

    from .work import Wanted, session

    screen = Screen(json=json, quiet=quiet, no_color=no_color)
    with session(Wanted(inventory, limit, vault_password_file, None), screen) as (fleet, opened):
        found = _listed(fleet, opened)
        errors = opened.errors
    show_versions(screen, found, errors)
    return Exit.HOST_FAILED if errors else Exit.DONE


@app.command()
def push(
    models: Which = None,
    inventory: InventoryPath = INVENTORY,
    limit: LimitTo = EVERYTHING,
    rate: Annotated[
        int | None, typer.Option("--rate", min=1, metavar="MBIT", help="Megabits per second that each host hands on, at most.")
    ] = None,
    vault_password_file: VaultPasswordFile = None,
    json: Json = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> Exit:
    """Bring declared versions to all hosts that store them: read here once, handed on from host to host, verified on each.

    Nothing that serves changes: `current` and services are `apply`'s. What hosts hold of a version is not sent again.
    Exit 0: every host has every version. 3: a host has not; the others do.
    """
    from steelyard.render.models import show_pushes
    from steelyard.render.screen import Screen

    from .pushing import push_models
    from .work import Wanted, session

    screen = Screen(json=json, quiet=quiet, no_color=no_color)
    with session(Wanted(inventory, limit, vault_password_file, None), screen) as (fleet, opened):
        site = _site(fleet)
        pushes = push_models(fleet, opened, site, _chosen(inventory, site, models), rate, screen)
        errors = opened.errors
    show_pushes(screen, pushes, errors)
    return Exit.HOST_FAILED if errors or any(pushed.errors for pushed in pushes.values()) else Exit.DONE


@app.command()
def verify(
    models: Which = None,
    inventory: InventoryPath = INVENTORY,
    limit: LimitTo = EVERYTHING,
    repair: Annotated[
        bool, typer.Option("--repair", help="Take bad files out of sight, and fetch their bad chunks again.")
    ] = False,
    vault_password_file: VaultPasswordFile = None,
    json: Json = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> Exit:
    """Read every byte of the declared versions again, on all hosts at once and at idle priority; name what is not as published.

    Exit 0: all are whole, or were repaired. 2: some are not. 3: a host did not answer, or could not be repaired.
    """
    from steelyard.modules.connectors.ask import ask
    from steelyard.render.models import show_verified
    from steelyard.render.screen import Screen

    from .pushing import push_models
    from .work import Wanted, session

    screen = Screen(json=json, quiet=quiet, no_color=no_color)
    found: dict[tuple[str, str], dict[str, Any] | None] = {}
    pushes: dict[str, Pushed] = {}
    with session(Wanted(inventory, limit, vault_password_file, None), screen) as (fleet, opened):
        site = _site(fleet)
        chosen = _chosen(inventory, site, models)

        def read(host: Any) -> None:
            for project in chosen:
                if host.name in site.stored_on[project]:
                    words = ["store-verify", site.model_root, project, site.models[project].version]
                    answer = ask(host, *words, *(["--quarantine"] if repair else []), seconds=24 * 3600, idle=True)
                    found[host.name, project] = answer

        opened.each(read)
        bad = {project for (_, project), answer in found.items() if answer is None or answer["wrong"] or answer["extra"]}
        if repair and bad:
            pushes = push_models(fleet, opened, site, [project for project in chosen if project in bad], None, screen)
        errors = opened.errors
    show_verified(screen, found, pushes, errors)
    if errors or any(pushed.errors for pushed in pushes.values()):
        return Exit.HOST_FAILED
    return Exit.CHANGES if bad and not repair else Exit.DONE


@app.command()
def rm(
    model: Annotated[str, typer.Argument(metavar="MODEL")],
    version: Annotated[str, typer.Argument(metavar="VERSION")],
    inventory: InventoryPath = INVENTORY,
    limit: LimitTo = EVERYTHING,
    vault_password_file: VaultPasswordFile = None,
    yes: Yes = False,
    json: Json = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> Exit:
    """Remove a version from the hosts. One that is declared, current, or in use by a process stays.

    Exit 0: gone. 3: a host kept it, and says why.
    """
    return _remove(inventory, limit, vault_password_file, yes, json, quiet, no_color, (model, version), 0)


@app.command()
def gc(
    keep: Annotated[
        int, typer.Option("--keep", min=0, metavar="N", help="Undeclared versions to keep per model, newest first.")
    ] = 1,
    inventory: InventoryPath = INVENTORY,
    limit: LimitTo = EVERYTHING,
    vault_password_file: VaultPasswordFile = None,
    yes: Yes = False,
    json: Json = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> Exit:
    """Remove versions that are neither declared, nor current, nor in use, nor among the newest that are kept.

    Exit 0: done, or nothing to do. 3: a host did not answer, or kept one, and says why.
    """
    return _remove(inventory, limit, vault_password_file, yes, json, quiet, no_color, None, keep)


def _remove(
    inventory: Path, limit: str, vault_password_file: Path | None, yes: bool, json: bool, quiet: bool, no_color: bool,
    named: tuple[str, str] | None, keep: int,
) -> Exit:  # fmt: skip
    from steelyard.models.collect import removable
    from steelyard.modules.connectors.ask import ask
    from steelyard.render.models import show_removed
    from steelyard.render.screen import Screen

    from .work import Wanted, session

    screen = Screen(json=json, quiet=quiet, no_color=no_color)
    removed: dict[str, list[str]] = {}
    stays: dict[str, list[str]] = {}
    with session(Wanted(inventory, limit, vault_password_file, None), screen) as (fleet, opened):
        site = _site(fleet)
        declared = {project: model.version for project, model in site.models.items()}
        found = _listed(fleet, opened)
        for host, answer in found.items():
            removed[host], stays[host] = removable((answer or {"versions": []})["versions"], declared, named, keep)
        removed = {host: words for host, words in removed.items() if words}
        for host, words in removed.items():
            screen.note(f"{host}: would remove {', '.join(words)}")
        if removed and not yes and not screen.confirm("Remove them?"):
            raise typer.Abort
        by_name = {host.name: host for host in opened.hosts}
        for name, words in removed.items():
            answer = ask(by_name[name], "store-forget", site.model_root, *words, seconds=3600)
            stays[name] += (answer or {"stays": ["the helper said nothing"]})["stays"]
            removed[name] = [word for word in words if not any(text.startswith(word + " ") for text in stays[name])]
        errors = opened.errors
    show_removed(screen, "rm" if named else "gc", removed, stays, errors)
    return Exit.HOST_FAILED if errors or any(stays.values()) else Exit.DONE


def _site(fleet: Fleet) -> Site:
    from steelyard.site import site_of

    return site_of(fleet)


def _chosen(inventory: Path, site: Site, models: list[str] | None) -> list[str]:
    """Declared models by name. Raises ModelUnknown."""
    from steelyard.errors import ModelUnknown, nearest_key

    for name in models or ():
        if name not in site.models:
            nearest = nearest_key(name, list(site.models))
            raise ModelUnknown(where=str(inventory), model=name, nearest=nearest, allowed=", ".join(site.models))
    return list(models or site.models)


def _listed(fleet: Fleet, opened: Session) -> dict[str, dict[str, Any] | None]:
    from steelyard.modules.connectors.ask import ask

    root = _site(fleet).model_root
    found: dict[str, dict[str, Any] | None] = {}
    opened.each(lambda host: found.__setitem__(host.name, ask(host, "store-list", root)))
    return {name: found[name] for name in opened.names if name in found}
