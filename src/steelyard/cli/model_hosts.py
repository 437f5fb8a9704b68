"""`steelyard models ls|push|verify|warm`: what hosts hold, and how it gets there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from steelyard.errors import Exit

from .options import EVERYTHING, INVENTORY, InventoryPath, Json, LimitTo, NoColor, Quiet, VaultPasswordFile

if TYPE_CHECKING:
    from steelyard.models.push import Pushed

Which = Annotated[list[str] | None, typer.Argument(metavar="[MODEL]...", help="Declared models; all of them if not given.")]


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

    from .stores import listed
    from .work import Wanted, session

    screen = Screen(json=json, quiet=quiet, no_color=no_color)
    with session(Wanted(inventory, limit, vault_password_file, None), screen) as (fleet, opened):
        found = listed(fleet, opened)
        errors = opened.errors
    show_versions(screen, found, errors)
    return Exit.HOST_FAILED if errors else Exit.DONE


def push(
    models: Which = None,
    inventory: InventoryPath = INVENTORY,
    limit: LimitTo = EVERYTHING,
    rate: Annotated[
        int | None, typer.Option("--rate", min=1, metavar="MBIT", help="Megabits per second that each host hands on, at most.")
    ] = None,
    delta_from: Annotated[
        str | None,
        typer.Option(
            "--delta-from",
            metavar="URI",
            help="Source of a version that hosts have: chunks go as what changed since. For slow links.",
        ),
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
    from .stores import chosen_models, site_in
    from .work import Wanted, session

    screen = Screen(json=json, quiet=quiet, no_color=no_color)
    with session(Wanted(inventory, limit, vault_password_file, None), screen) as (fleet, opened):
        site = site_in(fleet)
        pushes = push_models(fleet, opened, site, chosen_models(inventory, site, models), rate, screen, delta_from)
        errors = opened.errors
    show_pushes(screen, pushes, errors)
    return Exit.HOST_FAILED if errors or any(pushed.errors for pushed in pushes.values()) else Exit.DONE


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

    Signatures are held against the host's `model_store.trusted_keys` too.

    Exit 0: all are whole, or were repaired. 2: some are not. 3: a host did not answer, or could not be repaired.
    """
    from steelyard.errors import SignatureWrong
    from steelyard.models.signing import hold
    from steelyard.modules.connectors.ask import ask
    from steelyard.problem import HostProblem
    from steelyard.render.models import show_verified
    from steelyard.render.screen import Screen

    from .pushing import push_models, trusted_on
    from .stores import chosen_models, site_in
    from .work import Wanted, session

    screen = Screen(json=json, quiet=quiet, no_color=no_color)
    found: dict[tuple[str, str], dict[str, Any] | None] = {}
    pushes: dict[str, Pushed] = {}
    with session(Wanted(inventory, limit, vault_password_file, None), screen) as (fleet, opened):
        site = site_in(fleet)
        chosen = chosen_models(inventory, site, models)

        def read(host: Any) -> None:
            for project in chosen:
                if host.name in site.stored_on[project]:
                    words = ["store-verify", site.model_root, project, site.models[project].version]
                    answer = ask(host, *words, *(["--quarantine"] if repair else []), seconds=24 * 3600, idle=True)
                    there = answer is not None and answer["id"] is not None
                    found[host.name, project] = answer if there else None
                    if answer is not None and there:
                        signed(host, project, answer["id"])

        def signed(host: Any, project: str, manifest: str) -> None:
            """What lies there is what a key that the host's site trusts has signed."""
            model = site.models[project]
            try:
                hold(project, model.version, manifest, model.signature, trusted_on(host.data), host.name)
            except SignatureWrong as error:
                raise HostProblem(error) from error

        opened.each(read)
        bad = {project for (_, project), answer in found.items() if answer is None or answer["wrong"] or answer["extra"]}
        if repair and bad:
            pushes = push_models(fleet, opened, site, [project for project in chosen if project in bad], None, screen)
        errors = opened.errors
    show_verified(screen, found, pushes, errors)
    if errors or any(pushed.errors for pushed in pushes.values()):
        return Exit.HOST_FAILED
    return Exit.CHANGES if bad and not repair else Exit.DONE


def warm(
    models: Which = None,
    inventory: InventoryPath = INVENTORY,
    limit: LimitTo = EVERYTHING,
    seconds: Annotated[int, typer.Option("--seconds", min=1, help="At most so long on each host.")] = 600,
    vault_password_file: VaultPasswordFile = None,
    json: Json = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> Exit:
    """Bring declared versions into the page cache of the hosts that serve them, at idle priority: what serves goes before it.

    For before a change of version: the engine then starts warm. A version that does not fit is left alone, and told.
    Exit 0: all are resident. 2: one is not, with the reason. 3: a host did not answer.
    """
    from steelyard.modules.connectors.ask import ask
    from steelyard.render.models import show_warmed
    from steelyard.render.screen import Screen

    from .stores import chosen_models, site_in
    from .work import Wanted, session

    screen = Screen(json=json, quiet=quiet, no_color=no_color)
    found: dict[tuple[str, str], dict[str, Any] | None] = {}
    with session(Wanted(inventory, limit, vault_password_file, None), screen) as (fleet, opened):
        site = site_in(fleet)
        chosen = chosen_models(inventory, site, models)

        def read(host: Any) -> None:
            for project in chosen:
                if host.name in site.stored_on[project]:
                    folder = f"{site.model_root}/{project}/{site.models[project].version}"
                    found[host.name, project] = ask(host, "store-warm", folder, str(seconds), seconds=seconds + 60, idle=True)

        opened.each(read)
        errors = opened.errors
    show_warmed(screen, found, errors)
    if errors:
        return Exit.HOST_FAILED
    return Exit.CHANGES if any(answer is None or answer["why_not"] for answer in found.values()) else Exit.DONE


def cache(
    models: Which = None,
    inventory: InventoryPath = INVENTORY,
    limit: LimitTo = EVERYTHING,
    vault_password_file: VaultPasswordFile = None,
    json: Json = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> Exit:
    """Bring what an engine compiled on one host to all hosts that are alike, beside the weights; their next start uses it.

    Alike means: same engine, torch, driver, GPUs, processor, options, environment and model configuration; the hash of those is
    the artefact's name, and a host with another one is named and gets nothing. Versions of a model with one configuration share
    it. Exit 0: every host that is like one that compiled has it. 2: some have compiled nothing yet, and nobody like them has.
    3: a host did not answer.
    """
    from steelyard.render.models import show_caches
    from steelyard.render.screen import Screen

    from .caching import share_compiled
    from .stores import chosen_models, site_in
    from .work import Wanted, session

    screen = Screen(json=json, quiet=quiet, no_color=no_color)
    with session(Wanted(inventory, limit, vault_password_file, None), screen) as (fleet, opened):
        site = site_in(fleet)
        rows = share_compiled(fleet, opened, site, chosen_models(inventory, site, models), screen)
        errors = opened.errors
    show_caches(screen, rows, errors)
    if errors or any(row.error for row in rows):
        return Exit.HOST_FAILED
    return Exit.CHANGES if any(row.origin is None for row in rows) else Exit.DONE


def shard(
    models: Which = None,
    inventory: InventoryPath = INVENTORY,
    limit: LimitTo = EVERYTHING,
    vault_password_file: VaultPasswordFile = None,
    json: Json = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> Exit:
    """Shard declared versions for their engine and its ranks, once, and bring the variant to all hosts that serve them.

    Each rank then reads its own part and nothing else. The variant is a version of the store under a key of content, engine,
    ranks and options; `load_strategy: sharded` serves it. On a GPU stop the service of the first host meanwhile: sharding needs
    the memory. Exit 0: every host has it. 3: a host did not answer, or could not.
    """
    from steelyard.render.models import show_caches
    from steelyard.render.screen import Screen

    from .caching import share_sharded
    from .stores import chosen_models, site_in
    from .work import Wanted, session

    screen = Screen(json=json, quiet=quiet, no_color=no_color)
    with session(Wanted(inventory, limit, vault_password_file, None), screen) as (fleet, opened):
        site = site_in(fleet)
        rows = share_sharded(fleet, opened, site, chosen_models(inventory, site, models), screen)
        errors = opened.errors
    show_caches(screen, rows, errors, "models shard")
    return Exit.HOST_FAILED if errors or any(row.error for row in rows) else Exit.DONE
