"""Options that several commands share, written once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

InventoryPath = Annotated[
    Path, typer.Option("-i", "--inventory", metavar="DIR", help="Inventory: an Ansible directory or file, or a pyinfra .py.")
]
LimitTo = Annotated[str, typer.Option("-l", "--limit", metavar="PATTERN", help="Only hosts of this Ansible pattern.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
Verbose = Annotated[
    int, typer.Option("-v", "--verbose", count=True, help="Show the SSH cost per host, and diffs and commands whole.")
]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Only the result.")]
NoColor = Annotated[bool, typer.Option("--no-color", help="Never colour.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
VaultPasswordFile = Annotated[
    Path | None, typer.Option("--vault-password-file", metavar="FILE", help="Password of the inventory's vault values.")
]
DeployName = Annotated[
    str,
    typer.Option(
        "--deploy", metavar="NAME", help="site, hosts, preflight, store, models, serve, dify, or the path of a deploy file."
    ),
]
LabName = Annotated[str, typer.Option("--name", metavar="NAME", help="Which lab; several run side by side.")]

INVENTORY = Path("inventories/lab")
EVERYTHING = "all"
SITE = "site"
LAB = "lab"
