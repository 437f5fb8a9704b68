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
    import steelyard.example

    example = Path(next(iter(steelyard.example.__path__)))
    shutil.copytree(example, directory, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    print(f"wrote {directory}: edit hosts.yml and group_vars/all/models.yml, then `steelyard plan -i {directory}`")
    return Exit.DONE
