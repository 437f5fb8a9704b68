"""`steelyard mirror`: what the mirror hosts hold for hosts without a way out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from steelyard.errors import Exit

from .options import INVENTORY, InventoryPath, Json, NoColor, Quiet, VaultPasswordFile

app = typer.Typer(help="What the mirror hosts hold for hosts without a way out.", no_args_is_help=True)
images = typer.Typer(help="Container images on the mirror hosts.", no_args_is_help=True)
app.add_typer(images, name="images")


@images.command()
def sync(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="YAML list of images by digest.")],
    inventory: InventoryPath = INVENTORY,
    registry: Annotated[
        str | None,
        typer.Option("--registry", metavar="NAME", help="Which registry; the first without an upstream if not given."),
    ] = None,
    vault_password_file: VaultPasswordFile = None,
    json: Json = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> Exit:
    """Copy a list of images, by digest, into the mirror hosts' own registry. What is there already is not copied again.

    Exit 0: all are there. 3: a host or an image failed. 1: the list or the settings are wrong; nothing was copied.
    """
    from steelyard.images import read_images
    from steelyard.render.screen import Screen

    from .work import Wanted, read, session

    screen = Screen(json=json, quiet=quiet, no_color=no_color)
    wanted = Wanted(inventory, "mirror", vault_password_file, None)
    listed = read_images(file)
    mirrors = read(wanted, screen).in_group("mirror")
    port = _port(inventory, registry, mirrors[0].variables if mirrors else {})
    found: dict[str, dict[str, str]] = {}
    with session(wanted, screen) as (_, opened):
        from steelyard.modules.operations.images import copied

        opened.each(lambda host: found.__setitem__(host.name, copied(host, listed, port)))
        errors = opened.errors
    screen.images(found, errors)
    failed = errors or any(word.startswith("failed") for each in found.values() for word in each.values())
    return Exit.HOST_FAILED if failed else Exit.DONE


def _port(inventory: Path, name: str | None, variables: dict[str, Any]) -> int:
    """Of the registry that takes pushes. Raises RegistryMissing."""
    from steelyard.errors import RegistryMissing

    declared = (variables.get("registry_mirror") or {}).get("registries") or {}
    for each, registry in declared.items():
        if not registry.get("upstream") and name in (None, each):
            return int(registry["port"])
    raise RegistryMissing(where=str(inventory), named=f" under the name {name}" if name else "")
