"""A pyinfra inventory file as a fleet."""

from __future__ import annotations

import importlib
import traceback
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from steelyard.errors import InventoryEmpty, InventoryMissing, PyinfraInventoryBroken

from .fleet import Fleet, FleetHost


def _line_in(path: Path, error: BaseException) -> int:
    """The last line of the file itself that the error went through; 1 where none is told."""
    if isinstance(error, SyntaxError):
        return error.lineno or 1
    frames = traceback.extract_tb(error.__traceback__)
    return next((frame.lineno or 1 for frame in reversed(frames) if Path(frame.filename).name == path.name), 1)


def read_pyinfra(path: Path) -> Fleet:
    """The fleet of a pyinfra inventory `.py`. Raises InventoryMissing, PyinfraInventoryBroken, InventoryEmpty."""
    if not path.exists():
        raise InventoryMissing(where=str(path))
    from pyinfra.api.state import State
    from pyinfra.context import ctx_state
    from pyinfra_cli.inventory import make_inventory

    try:
        with ctx_state.use(State(check_for_changes=False)):
            inventory = make_inventory(str(path), cwd=str(path.parent))
    except Exception as error:  # the file is the user's own Python: whatever it raises is about that file
        # pyinfra's own exception around it cannot be printed with every version of its libraries
        cause = next((part for part in error.args if isinstance(part, Exception)), error.__cause__ or error)
        why = f"{type(cause).__name__}: {cause}"
        raise PyinfraInventoryBroken(where=f"{path}:{_line_in(path, cause)}", why=why) from error
    hosts = []
    for host in inventory:
        variables = {**inventory.get_data(), **host.group_data, **host.host_data}
        name = host.name.removeprefix("@steelyard/")
        hosts.append(FleetHost(name, tuple(host.groups), variables))
    if not hosts:
        raise InventoryEmpty(where=str(path), file=str(path))
    groups = {
        group: tuple(member.name.removeprefix("@steelyard/") for member in members)
        for group, members in inventory.groups.items()
    }
    groups["all"] = tuple(host.name for host in hosts)

    def match(pattern: str) -> list[str]:
        return [host.name for host in hosts if fnmatch(host.name, pattern) or host.name in groups.get(pattern, ())]

    return Fleet(path, tuple(hosts), groups, direct=groups, match=match)


def pyinfra_groups(path: Path) -> dict[str, tuple[list[tuple[str, dict[str, Any]]], dict[str, Any]]]:
    """The same as `steelyard.site.plain_pyinfra.pyinfra_groups`: inventory files of users import it from here.

    The room `site` lies above this one, so it is loaded by its name.
    """
    groups: dict[str, tuple[list[tuple[str, dict[str, Any]]], dict[str, Any]]]
    groups = importlib.import_module("steelyard.site.plain_pyinfra").pyinfra_groups(path)
    return groups
