"""Places of an inventory that name a host: what has to be deleted by hand when it leaves."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from steelyard.dirs import layers_of

LARGEST_BYTES = 1 << 20  # of a file that somebody wrote
OWN = ("group_vars", "host_vars")


class Mention(NamedTuple):
    """A line that names a host. `where`: `FILE:LINE`, or the file that is of that host alone."""

    where: str
    text: str


def mentions(inventory: Path, name: str) -> list[Mention]:
    """Return lines of the inventory's files in which the name stands as a word, comments left out, and files of its
    own. What is encrypted whole is not read.
    """
    word = re.compile(rf"(?<![\w.-]){re.escape(name)}(?![\w.-])")
    places = []
    for path in dict.fromkeys(path for layer in layers_of(inventory) for path in _files(layer)):
        if (path.parent.name == "host_vars" and path.name.split(".")[0] == name) or path.parent.name == name:
            places.append(Mention(str(path), "variables of this host alone"))
            continue
        places += [
            Mention(f"{path}:{number}", line.strip()[:120]) for number, line in _lines(path) if word.search(line)
        ]
    return places


def _files(inventory: Path) -> Iterator[Path]:
    if not inventory.is_dir():
        yield inventory
        inventory = inventory.parent
        for folder in OWN:
            yield from sorted(path for path in (inventory / folder).rglob("*") if path.is_file())
        return
    yield from sorted(
        path
        for path in inventory.rglob("*")
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(inventory).parts)
    )


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        if path.stat().st_size > LARGEST_BYTES:
            return
        text = path.read_text()
    except (OSError, UnicodeDecodeError):
        return
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.lstrip().startswith(("#", ";")):
            yield number, line
