"""`steelyard models rm|gc|keep|diff`: which versions stay on the hosts, and how two of them differ."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from steelyard.errors import Exit

from .options import EVERYTHING, INVENTORY, InventoryPath, Json, LimitTo, NoColor, Quiet, VaultPasswordFile, Yes


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
    """Remove a version from the hosts. One that is declared, current, previous, leased, or in use by a process stays.

    Exit 0: gone. 3: a host kept it, and says why.
    """
    return _remove(inventory, limit, vault_password_file, yes, json, quiet, no_color, (model, version), 0)


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
    """Remove versions that nobody needs: not declared, current, previous, in use, leased, nor among the newest that are kept.

    What was half received and then left for a day goes too.
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

    from .stores import listed, site_in
    from .work import Wanted, session

    screen = Screen(json=json, quiet=quiet, no_color=no_color)
    doomed: dict[str, list[str]] = {}
    stays: dict[str, list[str]] = {}
    removed: dict[str, list[str]] = {}
    tidied: dict[str, list[str]] = {}
    with session(Wanted(inventory, limit, vault_password_file, None), screen) as (fleet, opened):
        site = site_in(fleet)
        declared = {project: model.version for project, model in site.models.items()}
        for host, answer in listed(fleet, opened).items():
            doomed[host], stays[host] = removable((answer or {"versions": []})["versions"], declared, named, keep)
            if doomed[host]:
                screen.note(f"{host}: would remove {', '.join(doomed[host])}")
        if any(doomed.values()) and not yes and not screen.confirm("Remove them?"):
            raise typer.Abort

        def forget(host: Any) -> None:
            words = doomed.get(host.name, [])
            if words:
                kept = (ask(host, "store-forget", site.model_root, *words, seconds=3600) or {"stays": []})["stays"]
                stays[host.name] += kept
                removed[host.name] = [word for word in words if not any(text.startswith(word + " ") for text in kept)]
            if named is None:
                tidied[host.name] = (ask(host, "store-tidy", site.model_root) or {"gone": []})["gone"]

        opened.each(forget)
        errors = opened.errors
    show_removed(screen, "rm" if named else "gc", removed, stays, tidied, errors)
    return Exit.HOST_FAILED if errors or any(stays.values()) else Exit.DONE


def keep(
    model: Annotated[str, typer.Argument(metavar="MODEL")],
    version: Annotated[str, typer.Argument(metavar="VERSION")],
    hours: Annotated[float, typer.Option("--for", min=0.01, metavar="HOURS", help="How long it is kept.")] = 24.0,
    why: Annotated[str, typer.Option("--why", metavar="TEXT", help="Shown to whoever would remove it.")] = "kept by hand",
    release: Annotated[bool, typer.Option("--release", help="Keep it no more.")] = False,
    inventory: InventoryPath = INVENTORY,
    limit: LimitTo = EVERYTHING,
    vault_password_file: VaultPasswordFile = None,
    json: Json = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> Exit:
    """Keep a version on the hosts that hold it, for a while: nothing removes what is leased. The lease ends by itself.

    Exit 0: kept, or released. 1: no host that answered holds it. 3: a host did not answer.
    """
    import getpass
    import socket

    from steelyard.modules.connectors.ask import ask
    from steelyard.render.models import show_kept
    from steelyard.render.screen import Screen

    from .stores import holders, listed, site_in
    from .work import Wanted, session

    screen = Screen(json=json, quiet=quiet, no_color=no_color)
    who = f"{getpass.getuser()}@{socket.gethostname()}"
    with session(Wanted(inventory, limit, vault_password_file, None), screen) as (fleet, opened):
        root = site_in(fleet).model_root
        names = holders(listed(fleet, opened), model, version, str(inventory))
        words = (
            ("store-release", root, model, version, who)
            if release
            else ("store-lease", root, model, version, who, str(hours * 3600), why)
        )

        def say(host: Any) -> None:
            if host.name in names:
                ask(host, *words)

        opened.each(say)
        after = listed(fleet, opened)
        errors = opened.errors
    show_kept(screen, model, version, {name: after[name] for name in names if name in after}, errors)
    return Exit.HOST_FAILED if errors else Exit.DONE


def diff(
    model: Annotated[str, typer.Argument(metavar="MODEL")],
    before: Annotated[str, typer.Argument(metavar="VERSION")],
    after: Annotated[str, typer.Argument(metavar="VERSION")],
    inventory: InventoryPath = INVENTORY,
    limit: LimitTo = EVERYTHING,
    vault_password_file: VaultPasswordFile = None,
    json: Json = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> Exit:
    """Tell how two versions of a model differ: tensors, files, what a push of the second sends to a host that has the first.

    Read from the hosts' manifests; the declared version also from its source. Exit 0: told. 1: a version is nowhere. 3: a host
    did not answer.
    """
    from steelyard.models.compare import compared
    from steelyard.render.models import show_difference
    from steelyard.render.screen import Screen

    from .stores import listed, manifest_anywhere, site_in
    from .work import Wanted, session

    screen = Screen(json=json, quiet=quiet, no_color=no_color)
    with session(Wanted(inventory, limit, vault_password_file, None), screen) as (fleet, opened):
        site, found = site_in(fleet), listed(fleet, opened)
        first, second = (manifest_anywhere(opened, site, found, model, version, str(inventory)) for version in (before, after))
        errors = opened.errors
    show_difference(screen, model, (before, after), compared(first, second), errors)
    return Exit.HOST_FAILED if errors else Exit.DONE
