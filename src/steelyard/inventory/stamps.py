"""Hashes of an inventory's files, kept by what the file system says of each: a second look opens none of them.

As git does for its index: a file whose time of change is as young as the note of it may have been written once more in
the same tick of the clock, so it is read again until it is older.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from steelyard.dirs import write_private

SETTLED_NS = 2 * 10**9  # the coarsest clock of a file system in use (FAT) ticks every two seconds
DYNAMIC = re.compile(rb"(?m)^plugin\s*:")
ENCRYPTED = b"$ANSIBLE_VAULT"


class Noted(NamedTuple):
    """A file's content: its SHA-256, and whether it stays the same answer until it is written (no plugin's description,
    not encrypted whole).
    """

    sha256: str
    is_static: bool


class Stamps:
    """Notes of files by path, kept at `place`. `opened` counts the files that were read all the same."""

    def __init__(self, place: Path) -> None:
        self.place, self.opened = place, 0
        self._before: dict[str, list[object]] = {}
        self._now: dict[str, list[object]] = {}
        self._settled_before_ns = time.time_ns() - SETTLED_NS
        with suppress(OSError, ValueError):
            kept = json.loads(place.read_bytes())
            if isinstance(kept, dict):
                self._before = kept

    def of(self, file: str) -> Noted:
        """The file's content as noted, or as read now. Raises OSError."""
        status = Path(file).stat()
        stamp = f"{status.st_dev} {status.st_ino} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"
        noted = self._before.get(file)
        if noted is not None and noted[0] == stamp:
            self._now[file] = noted
            return Noted(str(noted[1]), bool(noted[2]))
        content = Path(file).read_bytes()
        self.opened += 1
        read = Noted(hashlib.sha256(content).hexdigest(), not is_dynamic(content))
        if max(status.st_mtime_ns, status.st_ctime_ns) < self._settled_before_ns:
            self._now[file] = [stamp, *read]
        return read

    def keep(self) -> None:
        """Note what was read. Nothing is lost where it cannot be written: it is read again."""
        if self._now != self._before:
            with suppress(OSError):
                write_private(self.place, json.dumps(self._now).encode())


def is_dynamic(content: bytes) -> bool:
    """Whether a source describes a plugin's work, or is encrypted whole."""
    return content.startswith(ENCRYPTED) or DYNAMIC.search(content) is not None


def files_below(folder: str) -> Iterator[str]:
    """Every file below a folder, in the order of names, through links as Ansible goes; a folder that holds itself is
    gone into once.
    """
    return _below(folder, frozenset())


def _below(folder: str, above: frozenset[str]) -> Iterator[str]:
    real = os.path.realpath(folder)
    if real in above:
        return
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        if entry.is_dir():
            yield from _below(entry.path, above | {real})
        elif entry.is_file():
            yield entry.path
