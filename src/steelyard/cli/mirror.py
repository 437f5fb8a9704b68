"""`steelyard mirror`: what the mirror hosts hold for hosts without a way out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from steelyard.errors import Exit

from .common import Run, command

app = typer.Typer(help="What the mirror hosts hold for hosts without a way out.", no_args_is_help=True)
images = typer.Typer(help="Container images on the mirror hosts.", no_args_is_help=True)
app.add_typer(images, name="images")


@images.command()
@command(hosts=True)
def sync(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="YAML list of images by digest.")],
    run: Run,
    registry: Annotated[
        str | None,
        typer.Option("--registry", metavar="NAME", help="Which registry; the first without an upstream if not given."),
    ] = None,
) -> Exit:
    """Copy images, by digest, into the mirror hosts' registry. What is there already is not copied again.

    Exit 0: all are there. 3: a host or an image failed. 1: the list or the settings are wrong; nothing was copied.
    """
    from steelyard.artifacts.images import read_images
    from steelyard.render.fleet import show_images
    from steelyard.workflows.mirror_images import copy_images, push_port

    run.limit = "mirror"
    images = read_images(file)
    port = push_port(run.inventory, registry, run.read().in_group("mirror"))
    with run.session() as (_, session):
        results = copy_images(session, images, port)
    show_images(run.screen, results, run.errors)
    failed = any(text.startswith("failed") for by_image in results.values() for text in by_image.values())
    return run.exit(Exit.HOST_FAILED if failed else Exit.DONE)
