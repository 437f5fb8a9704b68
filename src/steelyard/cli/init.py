"""`steelyard init`: the inventory of a new site."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from steelyard.errors import DirectoryNotEmpty, Exit


def init(directory: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to write; new or empty.")]) -> Exit:
    """Write a commented inventory for a new site: hosts, models and role settings to fill in."""
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise DirectoryNotEmpty(where=str(directory))
    shutil.copytree(example_folder(), directory, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    print(f"wrote {directory}: edit hosts.yml and group_vars/all/models.yml, then")
    print(
        f"`steelyard doctor -i {directory} --record-keys` (host keys are checked strictly) and `steelyard plan -i {directory}`"
    )
    return Exit.DONE


def example_folder() -> Path:
    """The commented site: beside the deploys in a wheel, under inventories/ in a checkout."""
    from .work import deploy_folder

    beside = deploy_folder().parent
    return next(path for path in (beside / "example", beside / "inventories" / "example") if path.is_dir())
