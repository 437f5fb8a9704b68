"""The action that an Xid in the kernel log asks for. Source: NVIDIA's Xid catalogue of 2025-10.

Numbers that it leaves to a workflow are listed with what that workflow begins with. Numbers that are not listed are
shown and not judged.
"""

from __future__ import annotations

from enum import Enum


class Action(Enum):
    """An action; the value is the sentence. Only `halts` keep a host from being admitted."""

    IGNORE = "nothing: it tells, it does not ask"
    RESTART_APP = "restart the program that used the GPU"
    RESET = "drain the host, stop what uses the GPU, and reset it: `nvidia-smi --gpu-reset -i BUS`"
    REBOOT = "drain the host and reboot it; if it comes back, have the board seated anew or replaced"
    RESTART_VM = "restart the virtual machine"
    MEMORY = "a memory error that could not be corrected: look at the remapped rows, then reset the GPU"
    LINK = "an NVLink error: look at the links of this GPU and its neighbours, then reset them together"
    POWER = "check the auxiliary power cable of the board"
    UPDATE = "update driver and firmware"
    SUPPORT = "run nvidia-bug-report.sh and open a case with the maker"
    FOLLOW = "the message itself carries the action: read it in `journalctl -k`"

    @property
    def halts(self) -> bool:
        return self in HALTING


HALTING = frozenset({Action.RESET, Action.REBOOT, Action.MEMORY, Action.LINK, Action.POWER})


def _numbers(text: str) -> list[int]:
    numbers: list[int] = []
    for word in text.split():
        first, _, last = word.partition("-")
        numbers += range(int(first), int(last or first) + 1)
    return numbers


_LISTED = {
    Action.RESTART_APP: "8 11 13 25 31 32 39-41 60 68-72 75-77 80 82-86 88 89 94 96-105 126-135 139",
    Action.IGNORE: "37 38 43 44 63 66 67 92 93 106 107 121 137 141 152 153 157 160 161",
    Action.RESET: "46 62 64 95 109 110 119 120 136 140 143 155 156 158",
    Action.REBOOT: "79",
    Action.RESTART_VM: "151",
    Action.MEMORY: "48",
    Action.LINK: "74 144-150",
    Action.POWER: "54",
    Action.UPDATE: "78",
    Action.SUPPORT: "45 142",
    Action.FOLLOW: "154",
}
ACTIONS: dict[int, Action] = {number: action for action, text in _LISTED.items() for number in _numbers(text)}
