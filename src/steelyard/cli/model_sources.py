"""`steelyard models add|sign|export|prune`: versions on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from steelyard.errors import Exit

from .options import EVERYTHING, INVENTORY, InventoryPath, Json, LimitTo, NoColor, Quiet, VaultPasswordFile, Yes

Model = Annotated[str, typer.Argument(metavar="MODEL", help="Project name, as in models.yml.")]
SOURCES = "file:///folder, hf://ORG/NAME@REVISION, modelscope://ORG/NAME@REVISION, s3://BUCKET/PREFIX, https://HOST/FILE.tar or /FOLDER/."


def add(
    model: Model,
    version: Annotated[str, typer.Argument(metavar="VERSION", help="Name of the version.")],
    source: Annotated[str, typer.Option("--source", metavar="URI", help=SOURCES)],
    code: Annotated[bool, typer.Option("--code", help="The version may hold code, which an engine may run.")] = False,
    convert: Annotated[
        bool, typer.Option("--convert", help="Make safetensors of pickle weights, in a sandbox without network.")
    ] = False,
    shard_mib: Annotated[
        int | None, typer.Option("--shard-mib", min=16, metavar="MIB", help="Cut safetensors into files of about this size.")
    ] = None,
    inventory: InventoryPath = INVENTORY,
    vault_password_file: VaultPasswordFile = None,
    json: Json = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> Exit:
    """Fetch a version's files to this machine, hold them against the source's own hashes, and say what to declare.

    A source is pinned: to a commit, or to the sha256 of its content. What was fetched before, also by other programs of the Hub,
    is not fetched again; what was cut off is taken up. The Hub's token is `hf_token` of the inventory (vault) or HF_TOKEN, and
    `hf_mirrors` are tried where it does not answer; S3 and ModelScope have their clients' own variables; a web server's
    password is in ~/.netrc. Exit 0: it is here. 1: it is not; nothing of it can be declared.
    """
    from steelyard.events import BytesMoved
    from steelyard.models.source import weights
    from steelyard.models.sources import Asked, fetch, is_local, parse
    from steelyard.models.sources.shape import Shape
    from steelyard.render.models import show_added
    from steelyard.render.screen import Screen

    from .work import Wanted, read

    screen = Screen(json=json, quiet=quiet, no_color=no_color)
    variables = read(Wanted(inventory, EVERYTHING, vault_password_file, None), screen).hosts[0].variables
    pinned = source
    if not is_local(source):
        mirrors = (None, *(str(mirror) for mirror in variables.get("hf_mirrors") or ()))
        token = str(variables["hf_token"]) if variables.get("hf_token") else None
        moved = lambda done, total: screen.event(BytesMoved("this machine", source, done, total))  # noqa: E731
        pinned = fetch(parse(source, "--source"), Asked(model, code, convert, token, mirrors, moved)).source
    shape = Shape(convert, shard_mib)
    found = weights(model, pinned, "--source", code, shape, make=True)
    show_added(screen, model, version, pinned, shape, found.manifest, code)
    return Exit.DONE


def sign(
    model: Model,
    key: Annotated[Path, typer.Option("--key", metavar="FILE", help="SSH key; a public key's file where an agent has it.")],
    inventory: InventoryPath = INVENTORY,
    vault_password_file: VaultPasswordFile = None,
    json: Json = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> Exit:
    """Sign the declared version of a model with an SSH key, and say what to declare. Other versions need other signatures.

    A site that declares `model_store.trusted_keys` brings versions to its hosts only where one of those keys signed them.
    Exit 0: signed. 1: not.
    """
    from steelyard.models.declared import declared_weights
    from steelyard.models.signing import sign as signature_of
    from steelyard.render.models import show_signature
    from steelyard.render.screen import Screen

    from .stores import chosen_models, site_in
    from .work import Wanted, read

    screen = Screen(json=json, quiet=quiet, no_color=no_color)
    site = site_in(read(Wanted(inventory, EVERYTHING, vault_password_file, None), screen))
    [name] = chosen_models(inventory, site, [model])
    declared = site.models[name]
    manifest = declared_weights(name, declared).manifest
    show_signature(screen, name, declared.version, manifest.id, signature_of(name, declared.version, manifest.id, key))
    return Exit.DONE


def export(
    model: Model,
    version: Annotated[str, typer.Argument(metavar="VERSION")],
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A new folder.")],
    inventory: InventoryPath = INVENTORY,
    limit: LimitTo = EVERYTHING,
    vault_password_file: VaultPasswordFile = None,
    json: Json = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> Exit:
    """Write a version into a folder on this machine, from its source or from a host that holds it, every byte compared.

    The folder is a `file://` source as it is, for another site or a medium; its manifest lies in `.steelyard/manifest.json`.
    Exit 0: it is whole. 1: no host holds it, or the folder cannot be written. 3: no host gave it.
    """
    from steelyard.render.models import show_exported
    from steelyard.render.screen import Screen

    from .exporting import export_version
    from .work import Wanted, session

    screen = Screen(json=json, quiet=quiet, no_color=no_color)
    with session(Wanted(inventory, limit, vault_password_file, None), screen) as (fleet, opened):
        manifest, origin = export_version(fleet, opened, model, version, folder, str(inventory), screen)
    show_exported(screen, model, version, folder, manifest, origin)
    return Exit.DONE


def prune(
    unused_for: Annotated[
        float, typer.Option("--unused-for", min=0, metavar="DAYS", help="What was used later than so many days ago stays.")
    ] = 30.0,
    inventory: InventoryPath = INVENTORY,
    vault_password_file: VaultPasswordFile = None,
    yes: Yes = False,
    json: Json = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> Exit:
    """Remove from this machine what `models add` fetched or made and nobody needs; hosts keep what they hold.

    What the inventory declares stays, and so does what any inventory of this user used lately. Files in the Hub's own cache
    are told, and left to `hf cache`. Exit 0: done, or nothing to do. 1: something could not be removed, and why.
    """
    import time

    from steelyard.models.downloads import downloads, freed, remove
    from steelyard.render.downloads import show_downloads, show_pruned
    from steelyard.render.screen import Screen

    from .stores import site_in
    from .work import Wanted, read

    screen = Screen(json=json, quiet=quiet, no_color=no_color)
    site, now = site_in(read(Wanted(inventory, EVERYTHING, vault_password_file, None), screen)), time.time()
    found = downloads(site, now - unused_for * 86400, now)
    doomed = [each for each in found if each.stays is None]
    show_downloads(screen, found)
    if doomed and not yes and not screen.confirm("Remove what goes?"):
        raise typer.Abort
    freed_bytes = freed(doomed)
    refused = remove(doomed)
    show_pruned(screen, found, refused, freed_bytes - freed(refused))
    return Exit.USAGE if refused else Exit.DONE
