"""Inventories in layers: `-i base -i prod` is one inventory, of which `prod` holds where both say something.

One path stands for them everywhere, with commas between, which is how ansible.cfg has it: so it can be written down,
and read again. Files of ours (a vault password, accepted drift) are looked for in the last layer, which is the
narrowest.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from steelyard.dirs import layers_of


def joined(given: Iterable[Path]) -> Path:
    """The one path that stands for all that are given, in their order."""
    return Path(",".join(map(str, given)))


def folder_of(layer: Path) -> Path:
    """The folder in which variables lie beside a layer's hosts."""
    return layer if layer.is_dir() else layer.parent


def last_layer(inventory: Path) -> Path:
    """The layer that holds where several say something: the one that a reader looks into first."""
    return layers_of(inventory)[-1]


def own_folder(inventory: Path) -> Path:
    """The folder of an inventory that files of ours lie in."""
    return folder_of(last_layer(inventory))


def require_layers(inventory: Path, named: str = "") -> tuple[Path, ...]:
    """The layers of an inventory, each of which is there. Raises InventoryMissing; `named` tells who named it."""
    from steelyard.errors import InventoryMissing  # here, because a TAB has no time for all errors

    layers = layers_of(inventory)
    for layer in layers:
        if not os.path.exists(layer):  # noqa: PTH110  a name that is too long is not there either
            raise InventoryMissing(where=str(layer), named=named)
    return layers
