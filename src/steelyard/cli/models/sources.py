"""`steelyard models add|sign|export|prune`: versions on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from steelyard.cli.common import Run, command
from steelyard.errors import Exit

DeclaredModel = Annotated[str, typer.Argument(metavar="MODEL", help="Project name, as in models.yml.")]
DAY_S = 86400
SOURCES = (
    "file:///folder, hf://ORG/NAME@REVISION, modelscope://ORG/NAME@REVISION, s3://BUCKET/PREFIX, "
    "https://HOST/FILE.tar or /FOLDER/."
)


@command()
def add(
    *,
    model: DeclaredModel,
    version: Annotated[str, typer.Argument(metavar="VERSION", help="Name of the version.")],
    source: Annotated[str, typer.Option("--source", metavar="URI", help=SOURCES)],
    code: Annotated[bool, typer.Option("--code", help="The version may hold code, which an engine may run.")] = False,
    convert: Annotated[
        bool, typer.Option("--convert", help="Make safetensors of pickle weights, in a sandbox without network.")
    ] = False,
    shard_mib: Annotated[
        int | None,
        typer.Option("--shard-mib", min=16, metavar="MIB", help="Cut safetensors into files of about this size."),
    ] = None,
    run: Run,
) -> Exit:
    """Fetch a version's files to this machine. Hold them against the source's own hashes, and say what to declare.

    A source is pinned: to a commit, or to the sha256 of its content. What was fetched before, also by other programs of
    the Hub, is not fetched again; what was cut off is taken up. The Hub's token is `hf_token` of the inventory (vault)
    or HF_TOKEN, and `hf_mirrors` are tried where it does not answer; S3 and ModelScope have their clients' own
    variables; a web server's password is in ~/.netrc. Exit 0: it is here. 1: it is not; nothing of it can be declared.
    """
    from steelyard.render.models import show_added
    from steelyard.site.schema import Conversion
    from steelyard.workflows.models.add_version import add_version

    variables = run.read(run.offline).hosts[0].variables
    conversion = Conversion(convert, shard_mib)
    added = add_version(model, source, code, conversion, variables, run.screen.event)
    show_added(run.screen, model, version, added.source, conversion, added.manifest, code)
    return Exit.DONE


@command()
def sign(
    *,
    model: DeclaredModel,
    key: Annotated[
        Path, typer.Option("--key", metavar="FILE", help="SSH key; a public key's file where an agent has it.")
    ],
    run: Run,
) -> Exit:
    """Sign the declared version of a model with an SSH key. Says what to declare; other versions need other signatures.

    A site that declares `model_store.trusted_keys` brings versions to its hosts only where one of those keys signed
    them.
    Exit 0: signed. 1: not.
    """
    from steelyard.models.content.signing import sign as signature_of
    from steelyard.models.sources.declared import declared_version
    from steelyard.render.models import show_signature
    from steelyard.workflows.models.store_queries import chosen_models, site_in

    site = site_in(run.read(run.offline))
    [name] = chosen_models(run.inventory, site, [model])
    declared = site.models[name]
    manifest = declared_version(name, declared).manifest
    signature = signature_of(name, declared.version, manifest.id, key)
    show_signature(run.screen, name, declared.version, manifest.id, signature)
    return Exit.DONE


@command(limit=True)
def export(
    run: Run,
    model: DeclaredModel,
    version: Annotated[str, typer.Argument(metavar="VERSION")],
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A new folder.")],
) -> Exit:
    """Write a version into a folder on this machine. From its source or from a host that holds it, every byte compared.

    The folder is a `file://` source as it is, for another site or a medium; its manifest lies in
    `.steelyard/manifest.json`.
    Exit 0: it is whole. 1: no host holds it, or the folder cannot be written. 3: no host gave it.
    """
    from steelyard.render.models import show_exported
    from steelyard.workflows.models.export_model import export_version

    with run.session(run.offline) as (fleet, session):
        where = str(run.inventory)
        manifest, origin = export_version(fleet, session, model, version, folder, where, run.screen.event)
    show_exported(run.screen, model, version, folder, manifest, origin)
    return Exit.DONE


@command(yes=True)
def prune(
    *,
    unused_for: Annotated[
        float,
        typer.Option("--unused-for", min=0, metavar="DAYS", help="What was used later than so many days ago stays."),
    ] = 30.0,
    run: Run,
) -> Exit:
    """Remove what `models add` brought here and nobody needs. Fetched or made on this machine; hosts keep what they
    hold.

    What the inventory declares stays, and so does what any inventory of this user used lately. Files in the Hub's own
    cache are told, and left to `hf cache`. Exit 0: done, or nothing to do. 1: something could not be removed, and why.
    """
    import time

    from steelyard.models.sources.download_cache import downloads, freed, remove
    from steelyard.render.downloads import show_downloads, show_pruned
    from steelyard.workflows.models.store_queries import site_in

    site, time_s = site_in(run.read(run.offline)), time.time()
    present = downloads(site, time_s - unused_for * DAY_S, time_s)
    unneeded = [download for download in present if download.stays is None]
    show_downloads(run.screen, present)
    if unneeded and not run.yes and not run.screen.confirm("Remove what goes?"):
        raise typer.Abort
    freed_bytes = freed(unneeded)
    refused = remove(unneeded)
    show_pruned(run.screen, present, refused, freed_bytes - freed(refused))
    return Exit.USAGE if refused else Exit.DONE
