"""`steelyard lab`: the disposable fleet."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from steelyard.errors import Exit

from .common import Run, command
from .options import LAB, LabName

app = typer.Typer(help="The disposable fleet: real machines, simulated GPUs.", no_args_is_help=True)
HostName = Annotated[str, typer.Argument(metavar="HOST", help="A host of the lab.")]


def say(text: str) -> None:
    """One line on stderr of what the lab is at."""
    sys.stderr.write(f"lab: {text}\n")  # one write: several threads speak at once


@app.command()
def up(
    hosts: Annotated[int, typer.Argument(metavar="[HOSTS]", min=1, max=200, help="How many hosts.")] = 3,
    name: LabName = LAB,
    inventory: Annotated[Path | None, typer.Option("--inventory", "-i", help="Where to write its inventory.")] = None,
    description: Annotated[Path | None, typer.Option("--description", help="Another lab.yml.")] = None,
    wheels: Annotated[bool, typer.Option(help="Collect the engine's wheels for the mirror.")] = True,
) -> Exit:
    """Boot the lab; what runs already is left alone."""
    from steelyard.lab import fleet
    from steelyard.lab.nspawn import spec
    from steelyard.lab.nspawn.host_lock import turn

    started = time.monotonic()
    where = inventory or Path("inventories") / name
    wanted = spec.hosts_of(hosts, description or spec.DESCRIPTION)
    with turn(say):
        made = fleet.up(name, wanted, where.resolve(), say, wheels)
    say(f"{len(made.hosts)} hosts answer after {time.monotonic() - started:.1f} s; inventory: {where}")
    return Exit.DONE


@app.command()
def down(name: LabName = LAB) -> Exit:
    """Take the lab away without a trace, whole or half-made."""
    from steelyard.lab import fleet
    from steelyard.lab.nspawn.host_lock import turn

    with turn(say):
        gone = fleet.down(name, say)
    say(f"lab {name} is gone" if gone else f"there was no lab {name}")
    return Exit.DONE


@app.command("status")
@command(inventory="none")
def show(run: Run, name: LabName = LAB) -> Exit:
    """Show the lab's machines."""
    from steelyard.lab import fleet
    from steelyard.lab.nspawn.record import require_lab
    from steelyard.render.fleet import show_lab

    reports = fleet.report(require_lab(name, "steelyard lab status"))
    show_lab(run.screen, name, reports)
    return Exit.DONE if all(report.answers for report in reports) else Exit.HOST_FAILED


@app.command(context_settings={"ignore_unknown_options": True})
def ssh(
    host: HostName,
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[COMMAND]", help="Run this instead of a shell.")
    ] = None,
    name: LabName = LAB,
) -> Exit:
    """Log in to a host as its sudo user."""
    from steelyard.lab.nspawn.login import ssh_command

    argv = ssh_command(name, host, list(arguments or ()))
    os.execvp(argv[0], argv)


@app.command("exec", context_settings={"ignore_unknown_options": True})
def execute(
    host: HostName,
    arguments: Annotated[list[str], typer.Argument(metavar="COMMAND", help="Run as root on the host.")],
    name: LabName = LAB,
) -> Exit:
    """Run a command as root on a host."""
    from steelyard.lab.nspawn.login import ssh_command

    argv = ssh_command(name, host, ["sudo", "-n", *arguments])
    os.execvp(argv[0], argv)


@app.command()
def snapshot(
    host: HostName,
    layer: Annotated[str | None, typer.Argument(help="Name; the host's own layer.")] = None,
    name: LabName = LAB,
) -> Exit:
    """Keep what roles installed on a host for the next lab. A layer with packages and engines, without
    configuration.
    """
    from steelyard.lab.nspawn.host_lock import turn
    from steelyard.lab.nspawn.layers import save_layer
    from steelyard.lab.nspawn.programs import require_machine
    from steelyard.lab.nspawn.record import require_lab

    require_machine("steelyard lab snapshot")
    machine = require_lab(name, "steelyard lab snapshot").machine(host)
    with turn(say):
        folder = save_layer(machine, layer or machine.host.layer or host)
    say(f"kept {folder.name} from {host}; the next `lab up` starts from it")
    return Exit.DONE
