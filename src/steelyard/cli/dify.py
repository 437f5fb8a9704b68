"""`steelyard dify`: what Dify has, whether it answers, and what its release needs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from steelyard.errors import Exit

from .dify_host import backup, backups, restore, upgrade, verify
from .options import INVENTORY, InventoryPath, Json, NoColor, Quiet, VaultPasswordFile, Yes

if TYPE_CHECKING:
    from steelyard.inventory.fleet import Fleet
    from steelyard.render.screen import Screen

app = typer.Typer(help="Dify: its models, its release, its backups.", no_args_is_help=True)
SECRETS_FILE = Path("group_vars/dify/dify_secrets.yml")


@app.callback()
def group() -> None:
    """Dify: its models, its release, its backups."""


def _fleet(inventory: Path, vault_password_file: Path | None, screen: Screen) -> Fleet:
    """Read and checked; nothing is connected to."""
    from .work import Wanted, read

    return read(Wanted(inventory, vault_password_file=vault_password_file), screen)


@app.command("ls")
def ls(
    inventory: InventoryPath = INVENTORY,
    vault_password_file: VaultPasswordFile = None,
    json: Json = False,
    no_color: NoColor = False,
) -> Exit:
    """List every model of the declared provider as Dify has it, whoever registered it. Reads only."""
    from steelyard.dify.reconcile import models_by_hand
    from steelyard.dify.wanted import Wanted
    from steelyard.render.dify import show_models
    from steelyard.render.screen import Screen
    from steelyard.roles.dify import connection, dify_settings

    screen = Screen(json=json, no_color=no_color)
    fleet = _fleet(inventory, vault_password_file, screen)
    client, provider = connection(fleet)
    by_hand = models_by_hand(client, Wanted(provider, dify_settings(fleet).credential))
    show_models(screen, client.where, provider, client.models(provider), by_hand)
    return Exit.DONE


@app.command("install")
def install(
    inventory: InventoryPath = INVENTORY,
    vault_password_file: VaultPasswordFile = None,
    yes: Yes = False,
    json: Json = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> Exit:
    """Bring the Dify host to all that is declared of it: `apply -l dify`, from Docker to the registered models."""
    from .apply import apply

    return apply(
        inventory=inventory, limit="dify", vault_password_file=vault_password_file, yes=yes, json=json, quiet=quiet,
        no_color=no_color,
    )  # fmt: skip


@app.command("register")
def register(
    inventory: InventoryPath = INVENTORY,
    vault_password_file: VaultPasswordFile = None,
    yes: Yes = False,
    json: Json = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> Exit:
    """Bring Dify to the declared plugins and models, and to its release: `apply --deploy dify`."""
    from .apply import apply

    return apply(
        inventory=inventory, limit="dify", deploy="dify", vault_password_file=vault_password_file, yes=yes, json=json,
        quiet=quiet, no_color=no_color,
    )  # fmt: skip


@app.command("check")
def check(
    inventory: InventoryPath = INVENTORY,
    vault_password_file: VaultPasswordFile = None,
    json: Json = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> Exit:
    """Ask every registered model as a user of Dify does: an app or a knowledge base of its own, used and removed again.

    Exit 0: all that can be asked answered. 2: one did not. 3: Dify did not answer.
    """
    from steelyard.dify.proof import prove
    from steelyard.render.dify import show_proofs
    from steelyard.render.screen import Screen
    from steelyard.roles.dify import connection

    screen = Screen(json=json, quiet=quiet, no_color=no_color)
    client, provider = connection(_fleet(inventory, vault_password_file, screen))
    found = []
    for proof in prove(client, provider, client.models(provider)):
        screen.note(f"{proof.type} {proof.model}: {proof.result}")
        found.append(proof)
    show_proofs(screen, client.where, found)
    return Exit.CHANGES if any(proof.result == "failed" for proof in found) else Exit.DONE


@app.command("images")
def images(inventory: InventoryPath = INVENTORY, vault_password_file: VaultPasswordFile = None) -> Exit:
    """Name every image that the declared release runs, one a line: what the list by digest must have. Reads the archive only."""
    from steelyard.render.screen import Screen
    from steelyard.roles.dify import image_names

    screen = Screen()
    for name in image_names(_fleet(inventory, vault_password_file, screen)):
        screen.out(name)
    return Exit.DONE


@app.command("secrets")
def secrets(
    inventory: InventoryPath = INVENTORY,
    vault_password_file: VaultPasswordFile = None,
    renew: Annotated[
        list[str] | None, typer.Option("--renew", metavar="NAME", help="Make this one anew as well; may be repeated.")
    ] = None,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> Exit:
    """Make the secrets of a Dify of your own, encrypted with the inventory's vault, in group_vars/dify/dify_secrets.yml.

    Those that are there stay, unless named with --renew. The next apply puts them in place. Exit 0: all are there.
    """
    from steelyard.dify.environment import SECRETS, new_secrets
    from steelyard.errors import UsageWrong, VaultPasswordMissing
    from steelyard.inventory.password import password_file
    from steelyard.render.screen import Screen

    screen = Screen(quiet=quiet, no_color=no_color)
    password = password_file(inventory, vault_password_file)
    if password is None:
        raise VaultPasswordMissing(where=str(inventory / SECRETS_FILE))
    for name in renew or ():
        if name not in SECRETS:
            raise UsageWrong(where="--renew", why=f"there is no secret `{name}`; there are {', '.join(SECRETS)}")
    path = inventory / SECRETS_FILE
    made = _written(path, password, frozenset(renew or ()), new_secrets())
    screen.out(f"{path}: {len(made)} made" + (f": {', '.join(made)}" if made else ", all were there"))
    return Exit.DONE


def _written(path: Path, password: Path, renew: frozenset[str], made: dict[str, str]) -> list[str]:
    """Names of the secrets that were written; others keep their lines as they are."""
    import re

    from steelyard.cache import write_private
    from steelyard.inventory.ansible import encrypt_value

    text = (
        path.read_text()
        if path.exists()
        else "# Written by `steelyard dify secrets`; encrypted with the inventory's vault.\ndify_secrets:\n"
    )
    blocks = dict(re.findall(r"^  (\w+): (!vault \|\n(?:    .*\n?)+)", text, re.M))
    names = [name for name in made if name not in blocks or name in renew]
    for name in names:
        lines = encrypt_value(made[name], password).splitlines()
        blocks[name] = "!vault |\n" + "".join(f"    {line}\n" for line in lines)
    head = text.split("dify_secrets:\n", 1)[0] + "dify_secrets:\n"
    if names:
        write_private(path, (head + "".join(f"  {name}: {block}" for name, block in blocks.items())).encode())
    return names


@app.command("seed")
def seed(
    package: Annotated[Path, typer.Argument(metavar="PACKAGE", help="The plugin's .difypkg.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="Where the packed cache goes.")],
    python: Annotated[str, typer.Option("--python", metavar="VERSION", help="Python of Dify's plugin daemon.")] = "3.12",
    json: Json = False,
    no_color: NoColor = False,
) -> Exit:
    """Pack what a plugin needs to be installed without a network: uv's cache, filled here from its lock, and proved offline.

    Exit 0: packed, and an install from it without a network was tried. 1: it could not be.
    """
    from steelyard.dify.seed import make_seed
    from steelyard.render.dify import show_seed
    from steelyard.render.screen import Screen

    show_seed(Screen(json=json, no_color=no_color), package, make_seed(package, python, output))
    return Exit.DONE


for command in (backup, backups, verify, restore, upgrade):
    app.command()(command)
