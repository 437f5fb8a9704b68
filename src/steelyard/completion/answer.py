"""`steelyard __complete SHELL ...`: the answer to one TAB, on stdout. Whatever is wrong, nothing is offered and nothing
is said.
"""

from __future__ import annotations

import json
import sys
from os.path import expandvars
from pathlib import Path
from typing import Any

from steelyard.inventory.choice import meant_inventory
from steelyard.inventory.known_names import KnownNames, known_labs, known_names
from steelyard.inventory.layers import joined

from .shells import answer_bash, answer_described, read_bash
from .words import offer, read_line

TABLE = Path(__file__).parent / "table.json"


def answer(given: list[str]) -> int:
    """Answer `bash LINE`, which ends at the cursor, or `zsh WORD...` and `fish WORD...`, of which the last is being
    typed.

    The answer goes to stdout. Returns the exit code: 1 where nothing can be offered.
    """
    if len(given) < 2:
        return 1
    try:
        text = _answer(given)
        sys.stdout.write(text + "\n")
    except Exception:  # a traceback would be written over the line that is being typed
        return 1
    return 0


def _answer(given: list[str]) -> str:
    table = json.loads(TABLE.read_text())
    if given[0] == "bash":
        typed = read_bash(given[1])
        return answer_bash(offer(table, typed.argv[1:], typed.current, _names(table, typed.argv[1:])), typed)
    argv = given[2:-1]
    return answer_described(offer(table, argv, given[-1], _names(table, argv)))


def _names(table: dict[str, Any], argv: list[str]) -> KnownNames:
    """Names of the inventory that the line names, or that it means."""
    if argv[:1] == ["lab"]:
        from steelyard.lab.nspawn.paths import state_root

        return KnownNames(labs=known_labs(state_root()))
    given = read_line(table, argv).given.get("-i")
    # no shell has expanded the line yet
    layers = [Path(expandvars(part)).expanduser() for part in given.split(",")] if given else []
    inventory = joined(layers) if layers else meant_inventory()
    return known_names(inventory) if inventory is not None else KnownNames()
