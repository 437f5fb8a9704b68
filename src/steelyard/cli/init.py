"""`steelyard init`: the inventory of a new site."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from steelyard.errors import DirectoryNotEmpty, Exit, FileNotWritten


def init(directory: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to write; new or empty.")]) -> Exit:
    """Write a commented inventory for a new site.

    Its keys are made here and lie in its vault; nothing is asked. What only you know is marked CHANGE-ME and listed.
    """
    from steelyard.inventory.new_site import fill_in_keys
    from steelyard.inventory.placeholders import placeholders_in

    if os.path.lexists(directory) and (not directory.is_dir() or any(directory.iterdir())):
        raise DirectoryNotEmpty(where=str(directory))
    directory.mkdir(parents=True, exist_ok=True)
    try:
        shutil.copytree(example_folder(), directory, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    except shutil.Error as error:  # it gathers what the system refused, as text
        _, target, why = error.args[0][0]
        raise FileNotWritten(where=str(target), why=re.sub(r"^\[Errno \d+\] |: '.*$", "", str(why))) from error
    password = fill_in_keys(directory)
    print(f"wrote {directory}, and its vault password into {password}: keep a copy, and keep it out of git")
    print("fill in what only you know:")
    for left in placeholders_in(directory):
        print(f"  {left.place}: {left.key}")
    print(f"`steelyard doctor -i {quote(str(directory))}` says with which commands, and what is left")
    return Exit.DONE


def example_folder() -> Path:
    """The commented site: beside the deploys in a wheel, under inventories/ in a checkout."""
    from steelyard.workflows.run_context import deploy_folder

    beside = deploy_folder().parent
    return next(path for path in (beside / "example", beside / "inventories" / "example") if path.is_dir())
