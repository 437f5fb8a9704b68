"""Notes of what a running check has in Dify, on this machine: whoever finds them without their check removes that.

A check holds a lock of the kernel on its file of notes as long as it lives, however it ends. Keys of knowledge bases
have no name in Dify, so after a kill nothing but such a note tells whose one is. Where the folder cannot be written,
a check does without: names in Dify still tell its apps and knowledge bases.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from steelyard.dirs import state_folder


def notes_folder() -> Path:
    """The folder of all notes of checks; none is secret."""
    return state_folder() / "dify-checks"


class CheckNotes:
    """The notes of one check: its Dify, and the path of each object that it has there, by the console's API."""

    def __init__(self, where: str, folder: Path | None = None) -> None:
        self.where = where
        self._folder = folder or notes_folder()
        self._file: IO[str] | None = None
        self._path = self._folder / f"{secrets.token_hex(8)}.notes"
        self._has: dict[str, str] = {}

    def add(self, path: str, what: str) -> None:
        """Note an object before it is used. `what`: its words for people."""
        if self._file is None:
            self._file = self._begun()
        self._has[path] = what
        self._write(f"+{path}\t{what}\n")

    def remove(self, path: str) -> None:
        """Note that an object is gone; the notes go with the last one."""
        self._has.pop(path, None)
        self._write(f"-{path}\n")

    def close(self) -> None:
        """End the notes: they stay where something stayed."""
        if self._file is None:
            return
        if not self._has:
            self._path.unlink(missing_ok=True)
        self._file.close()
        self._file = None

    def _begun(self) -> IO[str] | None:
        """The file, locked; None where there can be none."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            while True:
                file = os.fdopen(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+")
                fcntl.flock(file, fcntl.LOCK_EX)
                if self._path.exists() and os.path.samestat(os.fstat(file.fileno()), self._path.stat()):
                    break
                file.close()  # another check took it for left behind, between our two steps
        except OSError:
            return None
        file.write(f"{self.where}\n")
        file.flush()
        return file

    def _write(self, line: str) -> None:
        if self._file is not None:
            self._file.write(line)
            self._file.flush()


class LeftBehind:
    """The notes of a check that is no more, held as long as they are worked on."""

    def __init__(self, path: Path, file: IO[str]) -> None:
        self._path, self._file = path, file
        lines = [line[:-1] for line in file if line.endswith("\n")]  # the last may be half written
        self.where = lines[0] if lines else ""
        self.objects: dict[str, str] = {}
        for line in lines[1:]:
            path_of, _, what = line[1:].partition("\t")
            if line.startswith("+"):
                self.objects[path_of] = what
            else:
                self.objects.pop(path_of, None)

    def gone(self, path: str) -> None:
        """Note that an object is gone."""
        self.objects.pop(path, None)
        self._file.seek(0, os.SEEK_END)
        self._file.write(f"-{path}\n")
        self._file.flush()
        if not self.objects:
            self._path.unlink(missing_ok=True)


def left_behind(where: str, folder: Path | None = None) -> Iterator[LeftBehind]:
    """The notes of every check of this Dify that ended without removing what it had made."""
    for path in sorted((folder or notes_folder()).glob("*.notes")):
        try:
            file = path.open("r+")
        except OSError:
            continue
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                continue  # its check lives
            notes = LeftBehind(path, file)
            if not notes.objects:
                path.unlink(missing_ok=True)
            elif notes.where == where:
                yield notes
