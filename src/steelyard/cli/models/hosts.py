"""`steelyard models ls|push|verify|warm|cache|shard`: what hosts hold, and how it gets there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from steelyard.cli.common import Run, command
from steelyard.cli.options import ModelNames, Rate
from steelyard.errors import Exit

if TYPE_CHECKING:
    from steelyard.models.distribution.push import Pushed


@command(limit=True)
def ls(run: Run) -> Exit:
    """List every version on every host. Size, what it alone takes, current, in use, altered since it was published.

    Exit 0: listed. 3: a host did not answer.
    """
    from steelyard.render.models import show_versions
    from steelyard.workflows.models.store_queries import listed

    with run.session() as (fleet, session):
        stores = listed(fleet, session)
    show_versions(run.screen, stores, run.errors)
    return run.exit()


@command(limit=True)
def push(
    run: Run,
    models: ModelNames = None,
    rate: Rate = None,
    delta_from: Annotated[
        str | None,
        typer.Option(
            "--delta-from",
            metavar="URI",
            help="Source of a version that hosts have: chunks go as what changed since. For slow links.",
        ),
    ] = None,
) -> Exit:
    """Bring declared versions to all hosts that store them. Read here once, handed on from host to host, verified on
    each.

    Nothing that serves changes: `current` and services are `apply`'s. What hosts hold of a version is not sent again.
    Exit 0: every host has every version. 3: a host has not; the others do.
    """
    from steelyard.render.models import show_pushes
    from steelyard.workflows.models.push_models import push_models
    from steelyard.workflows.models.store_queries import chosen_models, site_in

    with run.session() as (fleet, session):
        site = site_in(fleet)
        chosen = chosen_models(run.inventory, site, models)
        pushes = push_models(fleet, session, site, chosen, rate, run.screen.event, delta_from)
    show_pushes(run.screen, pushes, run.errors)
    return run.exit(Exit.HOST_FAILED if any(pushed.errors for pushed in pushes.values()) else Exit.DONE)


@command(limit=True)
def verify(
    run: Run,
    models: ModelNames = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Take bad files out of sight, and fetch their bad chunks again.")
    ] = False,
) -> Exit:
    """Read every byte of the declared versions again. On all hosts at once, at idle priority; names what is not as
    published.

    Signatures are held against the host's `model_store.trusted_keys` too.

    Exit 0: all are whole, or were repaired. 2: some are not. 3: a host did not answer, or could not be repaired.
    """
    from steelyard.render.models import show_verified
    from steelyard.workflows.models.check_versions import damaged_models, verify_versions
    from steelyard.workflows.models.push_models import push_models
    from steelyard.workflows.models.store_queries import chosen_models, site_in

    pushes: dict[str, Pushed] = {}
    with run.session() as (fleet, session):
        site = site_in(fleet)
        chosen = chosen_models(run.inventory, site, models)
        verified = verify_versions(session, site, chosen, quarantine=repair)
        damaged = damaged_models(chosen, verified)
        if repair and damaged:
            pushes = push_models(fleet, session, site, damaged, None, run.screen.event)
    show_verified(run.screen, verified, pushes, run.errors)
    if any(pushed.errors for pushed in pushes.values()):
        return Exit.HOST_FAILED
    return run.exit(Exit.CHANGES if damaged and not repair else Exit.DONE)


@command(limit=True)
def warm(
    run: Run,
    models: ModelNames = None,
    seconds: Annotated[int, typer.Option("--seconds", min=1, help="At most so long on each host.")] = 600,
) -> Exit:
    """Bring declared versions into their hosts' page cache. On hosts that serve them, at idle priority: what serves
    goes first.

    For before a change of version: the engine then starts warm. A version that does not fit is left alone, and told.
    Exit 0: all are resident. 2: one is not, with the reason. 3: a host did not answer.
    """
    from steelyard.render.models import show_warmed
    from steelyard.workflows.models.check_versions import warm_versions
    from steelyard.workflows.models.store_queries import chosen_models, site_in

    with run.session() as (fleet, session):
        site = site_in(fleet)
        warmed = warm_versions(session, site, chosen_models(run.inventory, site, models), seconds)
    show_warmed(run.screen, warmed, run.errors)
    not_warm = any(warming is None or warming.why_not for warming in warmed.values())
    return run.exit(Exit.CHANGES if not_warm else Exit.DONE)


@command(limit=True)
def cache(run: Run, models: ModelNames = None) -> Exit:
    """Bring what an engine compiled to all hosts that are alike. It lies beside the weights there, and their next start
    uses it.

    Alike means: same engine, torch, driver, GPUs, processor, options, environment and model configuration; the hash of
    those is the artefact's name, and a host with another one is named and gets nothing. Versions of a model with one
    configuration share it. Exit 0: every host that is like one that compiled has it. 2: some have compiled nothing yet,
    and nobody like them has. 3: a host did not answer.
    """
    from steelyard.render.models import show_caches
    from steelyard.workflows.models.share_variants import share_compiled
    from steelyard.workflows.models.store_queries import chosen_models, site_in

    with run.session() as (fleet, session):
        site = site_in(fleet)
        rows = share_compiled(fleet, session, site, chosen_models(run.inventory, site, models), run.screen.event)
    show_caches(run.screen, rows, run.errors)
    if any(row.error for row in rows):
        return Exit.HOST_FAILED
    return run.exit(Exit.CHANGES if any(row.origin is None for row in rows) else Exit.DONE)


@command(limit=True)
def shard(run: Run, models: ModelNames = None) -> Exit:
    """Shard declared versions for their engine and its ranks. Once, and the variant is brought to all hosts that serve
    them.

    Each rank then reads its own part and nothing else. The variant is a version of the store under a key of content,
    engine, ranks and options; `load_strategy: sharded` serves it. On a GPU stop the service of the first host
    meanwhile: sharding needs the memory. Exit 0: every host has it. 3: a host did not answer, or could not.
    """
    from steelyard.render.models import show_caches
    from steelyard.workflows.models.share_variants import share_sharded
    from steelyard.workflows.models.store_queries import chosen_models, site_in

    with run.session() as (fleet, session):
        site = site_in(fleet)
        rows = share_sharded(fleet, session, site, chosen_models(run.inventory, site, models), run.screen.event)
    show_caches(run.screen, rows, run.errors, "models shard")
    return run.exit(Exit.HOST_FAILED if any(row.error for row in rows) else Exit.DONE)
