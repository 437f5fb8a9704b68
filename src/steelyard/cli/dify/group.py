"""`steelyard dify`: what Dify has, whether it answers, and what its release needs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from steelyard.cli.common import Run, command
from steelyard.errors import Exit, SteelyardError

from .host import backup, backups, restore, upgrade, verify

app = typer.Typer(help="Dify: its models, its release, its backups.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Dify: its models, its release, its backups."""


@app.command("ls")
@command()
def ls(run: Run) -> Exit:
    """List the models of the declared provider as Dify has them. Whoever registered them; reads only."""
    from steelyard.dify.desired_state import DesiredState
    from steelyard.dify.reconcile import models_by_hand
    from steelyard.render.dify import show_models
    from steelyard.roles.dify import connection, dify_settings

    fleet = run.read()
    client, provider = connection(fleet)
    by_hand = models_by_hand(client, DesiredState(provider, dify_settings(fleet).credential))
    show_models(run.screen, client.where, provider, client.models(provider), by_hand)
    return Exit.DONE


@app.command("login")
@command()
def login(run: Run) -> Exit:
    """Send the declared login to Dify once, refused before or not. No other command sends a password again that Dify
    refused: this is for one that is right by now.

    Exit 0: Dify takes it. 3: it does not, or the account is locked.
    """
    from steelyard.dify.account import workspaces
    from steelyard.render.dify import show_login
    from steelyard.roles.dify import connection

    client, _ = connection(run.read())
    client.forget_refusal()
    names = workspaces(client)
    show_login(run.screen, client.where, None if client.access.admin_key else client.access.email, names)
    return Exit.DONE


@app.command("install")
@command(yes=True)
def install(run: Run) -> Exit:
    """Bring the Dify host to all that is declared of it. The same as `apply -l dify`: from Docker to the registered
    models.
    """
    from steelyard.cli.apply import apply_declared
    from steelyard.cli.options import SITE

    run.limit, run.deploy = "dify", SITE
    return apply_declared(run)


@app.command("register")
@command(yes=True)
def register(run: Run) -> Exit:
    """Bring Dify to the declared plugins, models and release. The same as `apply --deploy dify`."""
    from steelyard.cli.apply import apply_declared

    run.limit = run.deploy = "dify"
    return apply_declared(run)


@app.command("check")
@command()
def check(run: Run) -> Exit:
    """Ask every registered model as a user of Dify does. By an app or a knowledge base of its own, used and removed
    again.

    What a killed check left in Dify is removed first. Exit 0: all that can be asked answered. 2: one did not. 3: Dify
    did not answer.
    """
    from steelyard.dify.check import check_models
    from steelyard.render.dify import show_proofs
    from steelyard.roles.dify import connection

    client, provider = connection(run.read())
    checked = check_models(client, provider, run.screen.note)
    show_proofs(run.screen, client.where, checked)
    return Exit.CHANGES if checked.any_failed else Exit.DONE


@app.command("images")
@command()
def images(run: Run) -> Exit:
    """Name every image that the declared release runs. One a line: what the list by digest must have; reads the archive
    only.
    """
    from steelyard.render.dify import show_image_names
    from steelyard.roles.dify import image_names

    show_image_names(run.screen, image_names(run.read()))
    return Exit.DONE


@app.command("secrets")
@command(vault_first=True)
def secrets(
    run: Run,
    renew: Annotated[
        list[str] | None, typer.Option("--renew", metavar="NAME", help="Make this one anew as well; may be repeated.")
    ] = None,
) -> Exit:
    """Make the secrets of a Dify of your own. Encrypted with the inventory's vault, in
    group_vars/dify/dify_secrets.yml.

    Those that are there stay, unless named with --renew. The next apply puts them in place. Exit 0: all are there.
    """
    from steelyard.dify.environment import new_secrets
    from steelyard.errors import UsageWrong, VaultPasswordNeeded
    from steelyard.inventory.layers import own_folder
    from steelyard.inventory.password import password_file
    from steelyard.render.dify import show_secrets
    from steelyard.workflows.dify_secrets import SECRETS_FILE, write_secrets

    path = own_folder(run.inventory) / SECRETS_FILE
    password = password_file(run.inventory, run.vault_password_file)
    if password is None:
        raise VaultPasswordNeeded(where=str(path))
    made = new_secrets(_declared_stores(run))
    for name in renew or ():
        if name not in made:
            raise UsageWrong(
                where="steelyard dify secrets",
                why=f"--renew: there is no secret `{name}`; there are {', '.join(made)}",
            )
    names = write_secrets(path, password, frozenset(renew or ()), made)
    show_secrets(run.screen, path, names)
    return Exit.DONE


def _declared_stores(run: Run) -> tuple[str, ...]:
    """The Compose profiles that the inventory declares, as far as it can be read without the secrets to be made."""
    from steelyard.roles.dify import dify_settings

    try:
        env = dify_settings(run.read()).env
    except SteelyardError:
        return ()  # it may wait for these very secrets; what is missing then is named by the next plan
    return (*env.get("COMPOSE_PROFILES", "").split(","), env.get("VECTOR_STORE", ""))


@app.command("seed")
@command(inventory="none")
def seed(
    package: Annotated[Path, typer.Argument(metavar="PACKAGE", help="The plugin's .difypkg.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="Where the packed cache goes.")],
    run: Run,
    python: Annotated[
        str, typer.Option("--python", metavar="VERSION", help="Python of Dify's plugin daemon.")
    ] = "3.12",
    uv: Annotated[
        list[str] | None,
        typer.Option("--uv", metavar="VERSION", help="uv of Dify's plugin daemon; may be repeated. Else one of each."),
    ] = None,
) -> Exit:
    """Pack what a plugin needs to be installed offline. It is uv's cache, filled here from its lock, and proved without
    a network.

    Releases of uv up to 0.9, 0.12, 0.13.8 and from 0.13.9 on read no cache of each other: without `--uv` it is filled
    by one of each. Exit 0: packed, and an install from it without a network was tried. 1: it could not be.
    """
    from steelyard.dify.seed import make_seed
    from steelyard.errors import UsageWrong
    from steelyard.render.dify import show_seed

    for release in uv or ():
        if not re.fullmatch(r"\d+\.\d+\.\d+", release):
            why = f"--uv: `{release}` is no release of uv; one is like `0.12.10`, as `uv --version` says it"
            raise UsageWrong(where="steelyard dify seed", why=why)
    show_seed(run.screen, package, make_seed(package, python, output, tuple(uv or ())))
    return Exit.DONE


for host_command in (backup, backups, verify, restore, upgrade):
    app.command()(host_command)
