"""The selection of hosts a command works on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from steelyard.errors import LimitFileWrong, LimitMatchedNoHost, nearest_key

from .fleet import Fleet

SHOWN = 5  # lines of a file that matches nothing


@dataclass(frozen=True)
class Limit:
    """An Ansible host pattern, as given on the command line.

    | pattern       | means                                   |
    |---------------|-----------------------------------------|
    | `gpu`, `g-*`  | every host of the group; names alike    |
    | `gpu:&rack2`  | hosts that are in both                  |
    | `gpu:!gpu-3`  | the group without that host             |
    | `gpu[0]`      | the first host of the group             |
    | `@failed.txt` | one name a line, as a failed run wrote  |

    Ansible takes every host where a file is empty, or nothing stands between commas; here that matches none.
    """

    pattern: str

    def select(self, fleet: Fleet, where: str = "--limit") -> tuple[str, ...]:
        """Return at least one host name, in inventory order. Raises LimitFileWrong, LimitMatchedNoHost (a blank
        pattern matches nothing).
        """
        lines = {file: _lines(file, where) for file in self._files()}
        matched = set(fleet.match(self.pattern)) if any(part.strip() for part in self._parts()) else set()
        if not matched and len(lines) == len(self._parts()):
            named = [f"`{line}`" for patterns in lines.values() for line in patterns]
            why = f"names no host here: {', '.join(named[:SHOWN])}{', ...' if len(named) > SHOWN else ''}"
            raise LimitFileWrong(where=where, file=", ".join(lines), why=why)
        if not matched:
            named = sorted(name for name, hosts in fleet.groups.items() if hosts)
            names = [*named, *(host.name for host in fleet.hosts)]
            raise LimitMatchedNoHost(
                where=where,
                pattern=self.pattern,
                groups=", ".join(named) or "none",
                nearest=nearest_key(self.pattern.split(":")[0], names),
            )
        return tuple(host.name for host in fleet.hosts if host.name in matched)

    def _parts(self) -> list[str]:
        return self.pattern.split("," if "," in self.pattern else ":")

    def _files(self) -> Iterator[str]:
        return (part.strip()[1:] for part in self._parts() if part.strip().startswith("@"))


def _lines(file: str, where: str) -> list[str]:
    """The patterns in a file. Raises LimitFileWrong."""
    try:
        patterns = [line.strip() for line in Path(file).read_text(encoding="utf-8").split("\n")]
    except OSError as error:
        raise LimitFileWrong(
            where=where, file=file, why=f"cannot be read: {(error.strerror or '?').lower()}"
        ) from error
    except UnicodeDecodeError as error:
        raise LimitFileWrong(where=where, file=file, why="holds no text") from error
    for number, pattern in enumerate(patterns, 1):
        regular = pattern.lstrip("&!")
        if regular.startswith("~"):
            try:
                re.compile(regular[1:])
            except re.error as error:
                why = f"has no pattern in line {number}, `{pattern}`: {error.msg}"
                raise LimitFileWrong(where=where, file=file, why=why) from error
    kept = [pattern for pattern in patterns if pattern]
    if not kept:
        raise LimitFileWrong(where=where, file=file, why="is empty")
    return kept
