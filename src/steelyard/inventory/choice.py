"""Choice of the inventory for a command that was given none: a variable's, else the only one of this folder's. Never
a lab's by silence.
"""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "STEELYARD_INVENTORY"
FOLDER = Path("inventories")  # of the working directory
EXAMPLE = "example"  # the shipped one, which names nobody's hosts
LAB_MARK = ".written-by-lab"  # file in an inventory that `steelyard lab up` wrote
# variables beside inventories, and what ansible-core itself passes over in a folder of sources
NOT_SOURCES = ("group_vars", "host_vars", "__pycache__")
NOT_READ = (".pyc", ".pyo", ".swp", ".bak", "~", ".rpm", ".md", ".txt", ".rst", ".orig", ".cfg", ".retry")


def choose_inventory(where: str) -> Path:
    """The inventory that is meant where the command `where` was given none. Raises InventoryMissing,
    InventoryNotNamed.
    """
    from steelyard.errors import InventoryNotNamed  # here, because a TAB has no time for all errors

    named = os.environ.get(VARIABLE)
    if named:
        from .layers import require_layers

        require_layers(Path(named), f", where {VARIABLE} leads")
        return Path(named)
    inventories, passed_over = _inventories(FOLDER)
    if len(inventories) == 1:
        return inventories[0]
    if inventories:
        why = f"there are several in `{FOLDER}`: {', '.join(path.name for path in inventories)}"
    else:
        left_out = (
            f" (the example and labs do not count: {', '.join(path.name for path in passed_over)})"
            if passed_over
            else ""
        )
        why = f"there is none of your own in `{FOLDER}`{left_out}"
    raise InventoryNotNamed(where=where, why=why)


def meant_inventory() -> Path | None:
    """The same for a TAB, which says nothing: None where `choose_inventory` would raise."""
    named = os.environ.get(VARIABLE)
    inventories = [Path(named)] if named else _inventories(FOLDER)[0]
    return inventories[0] if len(inventories) == 1 else None


def _inventories(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return what may be an inventory in a folder: those that count, and the example and labs. A doubtful one
    counts: then nothing is chosen in silence.
    """
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return [], []
    counted, passed_over = [], []
    for path in entries:
        if path.name.startswith(".") or path.name in NOT_SOURCES or path.name.endswith(NOT_READ):
            continue
        try:
            if path.is_dir() and (path.name == EXAMPLE or (path / LAB_MARK).exists()):
                passed_over.append(path)
            elif path.is_file() or (path.is_dir() and any(path.iterdir())):
                counted.append(path)
        except OSError:  # one that may not be looked into is a doubtful one
            counted.append(path)
    return counted, passed_over
