"""The chunks of a version while it is received: which are here, where each goes, what is already on this disk.

Staged files have their final size from the start and are written in any order; a chunk counts as here only after its hash
was compared. What lies in staging from a try before is read and compared too: a journal could say more than the disk has.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from steelyard_host.hashing import digest, wrong_chunks

KEPT_OPEN = 256  # files


class Chunk(NamedTuple):
    """`number` counts through the files of a manifest in their order."""

    number: int
    file: str
    offset: int
    size: int
    hash: str


class Held(NamedTuple):
    """Where a published version has these bytes."""

    path: str
    offset: int


def chunks_of(manifest: dict[str, Any]) -> list[Chunk]:
    found: list[Chunk] = []
    for name, entry in manifest["files"].items():
        at = 0
        for size, wanted in entry["chunks"]:
            found.append(Chunk(len(found), name, at, size, wanted))
            at += size
    return found


FICLONE = 0x40049409


def cloned(source: Path, target: Path) -> bool:
    """A file that shares its blocks with another one until either is written; False where the file system has no such thing."""
    try:
        with source.open("rb") as stream, target.open("xb") as out:
            fcntl.ioctl(out.fileno(), FICLONE, stream.fileno())
    except OSError:
        target.unlink(missing_ok=True)
        return False
    return True


def copied(source: Path, target: Path) -> None:
    """A file of its own with the same bytes; a clone where there are such."""
    if not cloned(source, target):
        shutil.copyfile(source, target)


class Staging:
    """A version's files in the making. Safe to use from several threads."""

    def __init__(self, folder: Path, manifest: dict[str, Any]) -> None:
        self.folder, self.manifest = folder, manifest
        self.chunks = chunks_of(manifest)
        self.here = bytearray(len(self.chunks))
        self.count = self.bytes = 0
        self.total = sum(chunk.size for chunk in self.chunks)
        self.changed = threading.Condition()
        self._kept: dict[str, int] = {}
        self._syncing = threading.Lock()

    def prepare(self, whole: dict[str, str], held: dict[str, Held]) -> int:
        """Take what this host has: `whole` files by blake3, chunks by theirs. Bytes that were on this disk already.

        A whole file becomes a hard link; its content was verified when it was published and its stat has not changed.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        largest = sorted(self.manifest["files"], key=lambda name: -self.manifest["files"][name]["size"])
        mine_of: dict[str, list[Chunk]] = {}
        for chunk in self.chunks:
            mine_of.setdefault(chunk.file, []).append(chunk)
        for name, entry in self.manifest["files"].items():
            target = self.folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            mine = mine_of.get(name, [])
            other = whole.get(entry["blake3"])
            linked = other is not None and self._link(other, target)
            before = target.exists()
            if not linked and before and target.stat().st_nlink > 1:
                target.unlink()  # a link of a try before, to a file that is no longer what it was
                before = False
            if not linked:
                handle = os.open(target, os.O_RDWR | os.O_CREAT, 0o600)
                if os.fstat(handle).st_size != entry["size"]:
                    os.ftruncate(handle, entry["size"])
                os.close(handle)
            if name in largest[:KEPT_OPEN]:
                self._kept[name] = os.open(target, os.O_RDONLY if linked else os.O_RDWR)
            wrong = set() if linked else {*range(len(mine))}
            if before and not linked:
                written = self._written(target, mine)
                spans = [(mine[number].offset, mine[number].size, mine[number].hash) for number in written]
                bad = {written[number] for number in wrong_chunks(target, spans)}
                wrong -= {*written} - bad
            for number, chunk in enumerate(mine):
                if number not in wrong:
                    self._mark(chunk)
                elif chunk.hash in held:
                    self._copy(chunk, held[chunk.hash])
        return self.bytes

    @staticmethod
    def _link(other: str, target: Path) -> bool:
        """False where the file system gives neither a link nor a clone: its chunks are copied instead.

        A link comes first: engines of both versions then share the pages in memory, which clones do not.
        """
        if target.exists() and target.samefile(other):
            return True
        target.unlink(missing_ok=True)
        try:
            os.link(other, target)
        except OSError as error:
            if error.errno in (errno.EXDEV, errno.EMLINK, errno.EPERM, errno.EOPNOTSUPP):
                return cloned(Path(other), target)
            raise
        return True

    @staticmethod
    def _written(path: Path, chunks: list[Chunk]) -> list[int]:
        """Positions of the chunks that are not wholly in a hole of the file: there is something to compare."""
        found = []
        with path.open("rb", buffering=0) as stream:
            for position, chunk in enumerate(chunks):
                try:
                    data = os.lseek(stream.fileno(), chunk.offset, os.SEEK_DATA)
                except OSError:
                    break  # nothing but a hole from here on
                if data < chunk.offset + chunk.size:
                    found.append(position)
        return found

    @contextmanager
    def _open(self, name: str, flags: int) -> Iterator[int]:
        """Large files stay open; a version of ten thousand small ones must not need ten thousand descriptors."""
        kept = self._kept.get(name)
        if kept is not None:
            yield kept
            return
        try:
            handle = os.open(self.folder / name, flags)
        except FileNotFoundError:  # published between two looks at `folder`
            handle = os.open(self.folder / name, flags)
        try:
            yield handle
        finally:
            os.close(handle)

    def _copy(self, chunk: Chunk, other: Held) -> None:
        try:
            with Path(other.path).open("rb", buffering=0) as stream:
                data = os.pread(stream.fileno(), chunk.size, other.offset)
        except OSError:
            return
        self.take(chunk.number, data)

    def take(self, number: int, data: Any) -> bool:
        """Put a chunk in its place if it is the one that was asked for. A second time changes nothing."""
        chunk = self.chunks[number]
        if len(data) != chunk.size or digest(data) != chunk.hash:
            return False
        if not self.here[number]:
            at, view = 0, memoryview(data)
            with self._open(chunk.file, os.O_RDWR) as handle:
                while at < chunk.size:
                    at += os.pwrite(handle, view[at:], chunk.offset + at)
            self._mark(chunk)
        return True

    def _mark(self, chunk: Chunk) -> None:
        with self.changed:
            if not self.here[chunk.number]:
                self.here[chunk.number] = 1
                self.count += 1
                self.bytes += chunk.size
                self.changed.notify_all()

    def read(self, number: int) -> bytes:
        """A chunk that is here, for whoever wants it next."""
        chunk = self.chunks[number]
        with self._open(chunk.file, os.O_RDONLY) as handle:
            return os.pread(handle, chunk.size, chunk.offset)

    def missing(self) -> list[list[int]]:
        """Numbers that are not here, as [first, last]."""
        found: list[list[int]] = []
        for number, here in enumerate(self.here):
            if not here and found and found[-1][1] == number - 1:
                found[-1][1] = number
            elif not here:
                found.append([number, number])
        return found

    @property
    def whole(self) -> bool:
        return self.count == len(self.chunks)

    def sync_some(self) -> None:
        """Have the disk begin with what was written so far, of the large files; one at a time does so."""
        if self._syncing.acquire(blocking=False):
            try:
                for handle in self._kept.values():
                    os.fdatasync(handle)
            except OSError:
                pass  # the last sync says it
            finally:
                self._syncing.release()

    def sync(self) -> None:
        """Every byte is on the disk when this returns; for very many files the whole file system at once."""
        if len(self.manifest["files"]) > KEPT_OPEN:
            handle = os.open(self.folder, os.O_RDONLY)
            try:
                if ctypes.CDLL(None, use_errno=True).syncfs(handle):
                    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
            finally:
                os.close(handle)
            return
        for name in self.manifest["files"]:
            with self._open(name, os.O_RDONLY) as handle:
                os.fsync(handle)

    def close(self) -> None:
        """Let go of the files; nothing can be taken or read after it."""
        while self._kept:
            os.close(self._kept.popitem()[1])
