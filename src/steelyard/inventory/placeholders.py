"""Placeholders for what only the owner of a site knows: words that begin with `CHANGE-ME` in an inventory's files.

Found in the files as text, whatever their format, so that each has its line; and in the values, where a vault hides the
text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from shlex import quote
from typing import Any, NamedTuple

from steelyard.dirs import layers_of
from steelyard.errors import PlaceholdersLeft

from .fleet import Fleet
from .layers import own_folder
from .locate import locate
from .password import PASSWORD_BESIDE
from .variables import is_read

MARK = "CHANGE-ME"
WORD = re.compile(rf"(?<![A-Za-z0-9-]){MARK}[A-Za-z0-9-]*")
COMMENT = re.compile(r"(^|\s)[#;].*$")
KEY = re.compile(r".*\b([A-Za-z0-9_.-]+)['\"]?\s*(?::\s|=)")  # the last one, and no `file:` of an address
SECRET = re.compile(r"(key|password|secret|token)$", re.IGNORECASE)
READ = ("", ".yml", ".yaml", ".json", ".ini", ".cfg", ".py")  # endings of files that hold hosts or variables
SHOWN = 12


class Placeholder(NamedTuple):
    """One value to be filled in. `place` is `FILE:LINE`; `key` is the key before it on its line, empty where there is
    none.
    """

    place: str
    key: str
    word: str

    @property
    def secret(self) -> bool:
        return bool(SECRET.search(self.key) or "-key-of-" in self.word or SECRET.search(self.word))

    def remedy(self, inventory: Path) -> str:
        """The command that fills it in, with one word in capitals for what only its reader knows."""
        if self.secret:
            password = quote(str(own_folder(inventory) / PASSWORD_BESIDE))
            name = self.key or "NAME"
            return (
                f"`ansible-vault encrypt_string --vault-password-file {password} --stdin-name {name}`, and "
                f"put what it prints "
                f"in place of that line"
            )
        path, _, line = self.place.rpartition(":")
        asked = self.word.removeprefix(MARK).strip("-").upper() or "VALUE"
        return f"sed -i '{line}s|{self.word}|{asked}|' {quote(path)}"


def placeholders_in(root: Path) -> list[Placeholder]:
    """Return the placeholders in the files of an inventory, by file and line; comments do not count."""
    files = dict.fromkeys(path for layer in layers_of(root) for path in _files(layer))
    return [placeholder for path in files for placeholder in _in_text(path)]


def placeholders(fleet: Fleet, sections: Iterable[str]) -> list[Placeholder]:
    """Return the placeholders of a fleet's files, and those that only its values show. One that stands in variables
    of others alone is theirs.
    """
    sections = frozenset(sections)
    ours, others = set[str](), set[str]()
    for host in fleet.hosts:
        for name, value in host.variables.items():
            shown = {word for _, text in texts(value) for word in WORD.findall(text)}
            (ours if is_read(name, sections) else others).update(shown)
    in_files = placeholders_in(fleet.path)
    written = [entry for entry in in_files if entry.word in ours or entry.word not in others]
    known = {entry.word for entry in written}
    hidden: dict[str, Placeholder] = {}
    for host in fleet.hosts:
        for keys, text in texts({name: value for name, value in host.variables.items() if is_read(name, sections)}):
            for word in WORD.findall(text):
                if word not in known:
                    place = locate(fleet.path, host, keys)
                    hidden.setdefault(place, Placeholder(place, str(keys[-1]), word))
    return [*written, *hidden.values()]


def refuse(fleet: Fleet, left: Sequence[Placeholder]) -> None:
    """Refuse an inventory with placeholders. Raises PlaceholdersLeft."""
    if left:
        named = [f"{entry.place} ({entry.key or entry.word})" for entry in left[:SHOWN]]
        more = [f"and {len(left) - SHOWN} more"] if len(left) > SHOWN else []
        raise PlaceholdersLeft(where=str(fleet.path), count=str(len(left)), places=", ".join([*named, *more]))


def is_placeholder(value: Any) -> bool:
    return isinstance(value, str) and WORD.search(value) is not None


def texts(value: Any, keys: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Every text in a value, with the keys that lead to it."""
    if isinstance(value, str):
        yield keys, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from texts(inner, (*keys, str(key)))
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            yield from texts(inner, (*keys, number))


def _files(root: Path) -> list[Path]:
    """The inventory's own, and variables that lie beside a single file."""
    if root.is_dir():
        files = [
            path for path in root.rglob("*") if not any(part.startswith(".") for part in path.relative_to(root).parts)
        ]
    else:
        files = [root, *(path for name in ("group_vars", "host_vars") for path in (root.parent / name).rglob("*"))]
    return sorted(path for path in files if path.is_file() and path.suffix in READ)


def _in_text(path: Path) -> Iterator[Placeholder]:
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return  # whoever reads the inventory says what is wrong
    for number, line in enumerate(lines, start=1):
        text = COMMENT.sub("", line)
        for match in WORD.finditer(text):
            key = KEY.match(text[: match.start()])
            yield Placeholder(f"{path}:{number}", key[1] if key else "", match[0])
