"""Generation of a GPU from its PCI device id, and the kernel module that it can have.

The ids are NVIDIA's blocks as its open kernel modules and the public PCI id list show them. Rules: NVIDIA's driver
installation guide, "kernel modules": before Turing only the proprietary one, and no branch after 580; from Blackwell
on, and on Grace, only the open one; between them either, the open one being the default.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

LAST_BEFORE_TURING = 580  # 590 dropped Maxwell, Pascal and Volta
FIRST_OPEN_DEFAULT = 560


class Flavour(StrEnum):
    """One of NVIDIA's two kernel modules."""

    OPEN = "open"
    PROPRIETARY = "proprietary"


@dataclass(frozen=True)
class Generation:
    """`flavours` that work, the preferred one first."""

    name: str
    flavours: tuple[Flavour, ...]
    last_branch: int | None = None


_OLD = (Flavour.PROPRIETARY,)
_EITHER = (Flavour.OPEN, Flavour.PROPRIETARY)
_NEW = (Flavour.OPEN,)
# first id of a block, in rising order
_BLOCKS: tuple[tuple[int, Generation], ...] = (
    (0x0000, Generation("Kepler or older", (), 470)),
    (0x1340, Generation("Maxwell", _OLD, LAST_BEFORE_TURING)),
    (0x15F0, Generation("Pascal", _OLD, LAST_BEFORE_TURING)),
    (0x1617, Generation("Maxwell", _OLD, LAST_BEFORE_TURING)),
    (0x1B00, Generation("Pascal", _OLD, LAST_BEFORE_TURING)),
    (0x1D81, Generation("Volta", _OLD, LAST_BEFORE_TURING)),
    (0x1E00, Generation("Turing", _EITHER)),
    (0x20B0, Generation("Ampere", _EITHER)),
    (0x2182, Generation("Turing", _EITHER)),
    (0x2200, Generation("Ampere", _EITHER)),
    (0x2300, Generation("Hopper", _EITHER)),
    (0x2400, Generation("Ampere", _EITHER)),
    (0x2600, Generation("Ada", _EITHER)),
    (0x2900, Generation("Blackwell or newer", _NEW)),
)
_GRACE_HOPPER = {0x2342, 0x2345, 0x2348}
SWITCHES_WITHOUT_PCI = frozenset({0x2901, 0x3182})  # B200 and B300: their NVLink 5 switches show as InfiniBand devices


def generation(device: int) -> Generation:
    """The generation of a GPU by its PCI device id, such as 0x2330."""
    if device in _GRACE_HOPPER:
        return Generation("Grace Hopper", _NEW)
    found = _BLOCKS[0][1]
    for first, block in _BLOCKS:
        if device >= first:
            found = block
    return found


@dataclass(frozen=True)
class Choice:
    """The module for all GPUs of a host together, or the sentence that says why there is none."""

    flavour: Flavour | None
    why: str


def choose(devices: tuple[int, ...], branch: int, wanted: Flavour | None = None) -> Choice:
    """The flavour that every GPU of a host can have with this driver branch; `wanted` is the operator's own choice."""
    generations = {generation(device).name: generation(device) for device in devices}
    for found in generations.values():
        if found.last_branch is not None and branch > found.last_branch:
            return Choice(
                None, f"{found.name} has no driver after branch {found.last_branch}; branch {branch} is declared"
            )
    able = [
        flavour
        for flavour in (Flavour.OPEN, Flavour.PROPRIETARY)
        if all(flavour in each.flavours for each in generations.values())
    ]
    names = ", ".join(sorted(generations)) or "no GPU"
    if not able:
        return Choice(None, f"no one kernel module drives {names} together; move one of them to another host")
    if wanted is not None and wanted not in able:
        return Choice(None, f"{names} cannot have the {wanted} module; take `module: {wanted}` out")
    default = Flavour.OPEN if branch >= FIRST_OPEN_DEFAULT else Flavour.PROPRIETARY
    chosen = wanted or (default if default in able else able[0])
    return Choice(chosen, f"{names}: the {chosen} module")
