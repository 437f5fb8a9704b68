"""The chunks of a version while it is received: which are here, where each goes, what is already on this disk.

Staged files have their final size from the start and are written in any order; a chunk counts as here only after its
hash was compared. What lies in staging from a try before is read and compared too: a journal could say more than the
disk has.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from steelyard_host.store.hashing import digest, wrong_chunks
from steelyard_host.store.layout import ChunkSource, ManifestDocument, PlacedChunk

FILES_OPEN = 256  # large ones, as long as the version is received


FICLONE = 0x40049409


def clone_file(source: Path, target: Path) -> bool:
    """Whether `target` is now a file that shares its blocks with `source` until either is written.

    Not every file system can do that; nothing is left at `target` then.
    """
    try:
        with source.open("rb") as stream, target.open("xb") as out:
            fcntl.ioctl(out.fileno(), FICLONE, stream.fileno())
    except OSError:
        target.unlink(missing_ok=True)
        return False
    return True


def copy_file(source: Path, target: Path) -> None:
    """Makes `target` a file of its own with the same bytes; a clone where the file system can."""
    if not clone_file(source, target):
        shutil.copyfile(source, target)


class Staging:
    """A version's files in the making. Safe to use from several threads."""

    def __init__(self, folder: Path, manifest: ManifestDocument) -> None:
        self.folder, self.manifest = folder, manifest
        self.chunks = manifest.chunks()
        self.here = bytearray(len(self.chunks))
        self.count = self.bytes = 0
        self.total = sum(chunk.size for chunk in self.chunks)
        self.changed = threading.Condition()
        self._handles: dict[str, int] = {}  # of large files
        self._syncing = threading.Lock()

    def prepare(self, whole: dict[str, str], sources: dict[str, ChunkSource]) -> int:
        """Takes what this host has: `whole` files by blake3, chunks by theirs. Bytes that were on this disk already.

        A whole file becomes a hard link; its content was verified when it was published and its stat has not changed.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        files = self.manifest.files
        large = set(sorted(files, key=lambda name: -files[name]["size"])[:FILES_OPEN])
        chunks_of: dict[str, list[PlacedChunk]] = {}
        for chunk in self.chunks:
            chunks_of.setdefault(chunk.file, []).append(chunk)
        for name, entry in files.items():
            target = self.folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            chunks = chunks_of.get(name, [])
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
            if name in large:
                self._handles[name] = os.open(target, os.O_RDONLY if linked else os.O_RDWR)
            lacking = set() if linked else {*range(len(chunks))}
            if before and not linked:
                lacking -= self._whole_in(target, chunks)
            for number, chunk in enumerate(chunks):
                if number not in lacking:
                    self._mark(chunk)
                elif chunk.hash in sources:
                    self._copy(chunk, sources[chunk.hash])
        return self.bytes

    def _whole_in(self, target: Path, chunks: list[PlacedChunk]) -> set[int]:
        """Positions of the chunks that a try before left in the file as they should be."""
        written = self._written(target, chunks)
        spans = [(chunks[position].offset, chunks[position].size, chunks[position].hash) for position in written]
        return {*written} - {written[number] for number in wrong_chunks(target, spans)}

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
                return clone_file(Path(other), target)
            raise
        return True

    @staticmethod
    def _written(path: Path, chunks: list[PlacedChunk]) -> list[int]:
        """Positions of the chunks that are not wholly in a hole of the file: there is something to compare."""
        positions = []
        with path.open("rb", buffering=0) as stream:
            for position, chunk in enumerate(chunks):
                try:
                    data = os.lseek(stream.fileno(), chunk.offset, os.SEEK_DATA)
                except OSError:
                    break  # nothing but a hole from here on
                if data < chunk.offset + chunk.size:
                    positions.append(position)
        return positions

    @contextmanager
    def _open(self, name: str, flags: int) -> Iterator[int]:
        """Large files stay open; a version of ten thousand small ones must not need ten thousand descriptors."""
        open_handle = self._handles.get(name)
        if open_handle is not None:
            yield open_handle
            return
        try:
            handle = os.open(self.folder / name, flags)
        except FileNotFoundError:  # published between two looks at `folder`
            handle = os.open(self.folder / name, flags)
        try:
            yield handle
        finally:
            os.close(handle)

    def _copy(self, chunk: PlacedChunk, source: ChunkSource) -> None:
        try:
            with Path(source.path).open("rb", buffering=0) as stream:
                data = os.pread(stream.fileno(), chunk.size, source.offset)
        except OSError:
            return
        self.take(chunk.number, data)

    def take(self, number: int, data: Any) -> bool:
        """Puts a chunk in its place if it is the one that was asked for. A second time changes nothing."""
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

    def _mark(self, chunk: PlacedChunk) -> None:
        with self.changed:
            if not self.here[chunk.number]:
                self.here[chunk.number] = 1
                self.count += 1
                self.bytes += chunk.size
                self.changed.notify_all()

    def read(self, number: int) -> bytes:
        """The bytes of a chunk that is here, for whoever wants it next."""
        chunk = self.chunks[number]
        with self._open(chunk.file, os.O_RDONLY) as handle:
            return os.pread(handle, chunk.size, chunk.offset)

    def missing(self) -> tuple[tuple[int, int], ...]:
        """Numbers of chunks that are not here, as (first, last)."""
        absent = [number for number, here in enumerate(self.here) if not here]
        firsts = [number for at, number in enumerate(absent) if not at or absent[at - 1] != number - 1]
        lasts = [number for at, number in enumerate(absent, 1) if at == len(absent) or absent[at] != number + 1]
        return tuple(zip(firsts, lasts))

    @property
    def whole(self) -> bool:
        return self.count == len(self.chunks)

    def sync_some(self) -> None:
        """Has the disk begin with what was written so far, of the large files; one thread at a time does so."""
        if self._syncing.acquire(blocking=False):
            try:
                for handle in self._handles.values():
                    os.fdatasync(handle)
            except OSError:
                pass  # the last sync says it
            finally:
                self._syncing.release()

    def sync(self) -> None:
        """Every byte is on the disk when this returns; for very many files the whole file system at once."""
        if len(self.manifest.files) > FILES_OPEN:
            import ctypes

            handle = os.open(self.folder, os.O_RDONLY)
            try:
                if ctypes.CDLL(None, use_errno=True).syncfs(handle):
                    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
            finally:
                os.close(handle)
            return
        for name in self.manifest.files:
            with self._open(name, os.O_RDONLY) as handle:
                os.fsync(handle)

    def close(self) -> None:
        """Closes the files; nothing can be taken or read after it."""
        while self._handles:
            os.close(self._handles.popitem()[1])
