"""`steelyard version`: of the controller, and of what runs on hosts."""

from __future__ import annotations

import platform
from importlib.metadata import version as version_of
from typing import Annotated

import typer

from steelyard.errors import Exit

from .common import Run, command

LIBRARIES = ("pyinfra", "ansible-core", "paramiko")


@command(inventory="optional", limit=True, verbose=True)
def version(
    run: Run,
    hosts: Annotated[bool, typer.Option("--hosts", help="Those of hosts too: helper, engines, HAProxy.")] = False,
) -> Exit:
    """Show the versions of programs. With `--hosts` of helper, engines and HAProxy on each host.

    Without `--hosts` nobody is asked. A helper of another release is told with its fix.

    Exit 0: every host answered, or none was asked. 3: one did not.
    """
    from steelyard import __version__
    from steelyard.inventory.choice import choose_inventory
    from steelyard.render.versions import show_versions

    programs = {"steelyard": __version__, "Python": platform.python_version()}
    programs |= {name: version_of(name) for name in LIBRARIES}
    if not hosts:
        show_versions(run.screen, programs, None, {})
        return Exit.DONE
    run.named_inventory = run.named_inventory or choose_inventory("steelyard version --hosts")
    from steelyard.workflows.host_versions import host_versions

    with run.session() as (_, session):
        rows = host_versions(session)
    show_versions(run.screen, programs, rows, run.errors)
    return run.exit()
