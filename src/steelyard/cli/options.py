"""Options that several commands share, written once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from steelyard.inventory.choice import FOLDER, VARIABLE, choose_inventory

INVENTORY = [FOLDER]  # stands for the inventory that is chosen where none is named; no command sees it
_CHOSEN = f"{VARIABLE}, else the only one in {FOLDER}/"


_HELP = "Inventory: an Ansible directory or file, or a pyinfra .py. May be repeated: the later one holds."


def _chosen(context: typer.Context, parameter: typer.CallbackParam, given: list[Path]) -> list[Path]:
    """The inventories that -i gives, else the choice; the parser says which, because `-i inventories` may be meant."""
    source = context.get_parameter_source(str(parameter.name))
    if context.resilient_parsing or source is None or source.name != "DEFAULT":
        return given
    return [choose_inventory(context.command_path)]


InventoryPath = Annotated[
    list[Path],
    typer.Option(
        "-i",
        "--inventory",
        metavar="DIR",
        callback=_chosen,
        show_default=_CHOSEN,
        help=_HELP,
    ),
]
GivenInventory = Annotated[  # for commands that choose otherwise, or can do without
    list[Path] | None,
    typer.Option(
        "-i",
        "--inventory",
        metavar="DIR",
        show_default=_CHOSEN,
        help=_HELP,
    ),
]
LimitTo = Annotated[str, typer.Option("-l", "--limit", metavar="PATTERN", help="Only hosts of this Ansible pattern.")]
ModelNames = Annotated[
    list[str] | None, typer.Argument(metavar="[MODEL]...", help="Declared models; all of them if not given.")
]
Rate = Annotated[
    int | None,
    typer.Option("--rate", min=1, metavar="MBIT", help="Megabits per second that each host hands on, at most."),
]
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
WithGateway = Annotated[
    bool, typer.Option("--with-gateway", help="Tell gateways and Dify too, whatever --limit leaves out.")
]
Prune = Annotated[
    bool, typer.Option("--prune", help="Also remove what outlives its declaration: weights, caches, records.")
]
DeployName = Annotated[
    str,
    typer.Option(
        "--deploy",
        metavar="NAME",
        help="site, hosts, preflight, store, models, serve, dify, or the path of a deploy file.",
    ),
]
LabName = Annotated[str, typer.Option("--name", metavar="NAME", help="Which lab; several run side by side.")]

EVERYTHING = "all"
SITE = "site"
LAB = "lab"
