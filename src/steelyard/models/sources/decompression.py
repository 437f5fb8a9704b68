"""Limits of what an archive may become while it is unpacked: bytes, memory, headers and time.

A few bytes can say that they are terabytes, and a header that is for names can say that it is a gigabyte of them. So
what comes out is counted as it comes, a decoder gets no more memory than its format's strongest setting needs, and no
header is read that is larger than any name.
"""

from __future__ import annotations

import bz2
import lzma
import tarfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

RATIO = 100  # weights that are random shrink hardly, and zeros a thousandfold
LEAST = 1 << 30  # bytes that any archive may become
MOST_MEMBERS = 100_000
HEADER = 1 << 20  # bytes of names and attributes of one member
DECODER = 128 << 20  # bytes of memory: `xz -9` needs 65 MiB
BLOCK = 1 << 20
PATIENCE_S, RATE = 600.0, 1 << 20  # so many seconds, and a second more for each so many bytes that came out
MAGIC = ((b"\x1f\x8b", "gzip"), (b"BZh", "bzip2"), (b"\xfd7zXZ\x00", "xz"), (b"]\x00\x00", "lzma"))


class ArchiveLimit(Exception):
    """An archive becomes more than any honest one does, or takes longer."""


class _Decoder(Protocol):
    """One compressed stream: what comes out of `data`, at most `most` bytes of it."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused(self) -> bytes: ...

    def decode(self, data: bytes, most: int) -> bytes: ...

    @property
    def waits(self) -> bool: ...


def unpacked_limit(archive: Path) -> int:
    """Bytes that the members of an archive of this size may have together."""
    return max(LEAST, RATIO * archive.stat().st_size)


class _Gzip:
    def __init__(self) -> None:
        self._inner, self._rest = zlib.decompressobj(wbits=31), b""

    def decode(self, data: bytes, most: int) -> bytes:
        out = self._inner.decompress(self._rest + data, most)
        self._rest = self._inner.unconsumed_tail
        return out

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused(self) -> bytes:
        return self._inner.unused_data

    @property
    def waits(self) -> bool:
        return not self._rest


class _Buffered:
    """The decoders of bzip2 and xz, which keep by themselves what they were not asked for."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def decode(self, data: bytes, most: int) -> bytes:
        return bytes(self._inner.decompress(data, most))

    @property
    def eof(self) -> bool:
        return bool(self._inner.eof)

    @property
    def unused(self) -> bytes:
        return bytes(self._inner.unused_data)

    @property
    def waits(self) -> bool:
        return bool(self._inner.needs_input)


def packed_by(archive: Path) -> str | None:
    """The compression of an archive, by its first bytes; None where it has none."""
    with archive.open("rb") as file:
        head = file.read(8)
    return next((kind for magic, kind in MAGIC if head.startswith(magic)), None)


class Decompressed:
    """The bytes of a tar archive, decompressed as they are read; and no more than may be.

    Reading raises ArchiveLimit, zlib.error, OSError, lzma.LZMAError, EOFError.
    """

    def __init__(self, archive: Path, kind: str, clock: Callable[[], float] = time.monotonic) -> None:
        # headers and the padding of members come on top of what they hold
        self._limit = unpacked_limit(archive) + MOST_MEMBERS * 4 * tarfile.BLOCKSIZE
        self._file, self._clock, self._began, self._out = archive.open("rb"), clock, clock(), 0
        self._kind, self._decoder = kind, _decoder(kind)
        self._buffer, self._ended = b"", False

    def read(self, size: int) -> bytes:
        """So many bytes, fewer at the end."""
        parts = [self._buffer]
        have = len(self._buffer)
        while have < size and not self._ended:
            parts.append(self._more())
            have += len(parts[-1])
        data = b"".join(parts)
        self._buffer = data[size:]
        return data[:size]

    def close(self) -> None:
        self._file.close()

    def _more(self) -> bytes:
        data = self._decoded()
        self._out += len(data)
        if self._out > self._limit:
            raise ArchiveLimit(f"it unpacks to more than {self._limit} bytes")
        passed = self._clock() - self._began
        if passed > PATIENCE_S + self._out / RATE:
            raise ArchiveLimit(f"in {passed:.0f} s only {self._out} bytes came out of it")
        return data

    def _decoded(self) -> bytes:
        if self._decoder.eof:  # a file of several streams, one behind the other; zeros may fill it up
            following = self._decoder.unused.lstrip(b"\0") or self._file.read(BLOCK).lstrip(b"\0")
            if not following:
                self._ended = self._file.read(1) == b""
                return b""
            self._decoder = _decoder(self._kind)
            return self._decoder.decode(following, BLOCK)
        packed = self._file.read(BLOCK) if self._decoder.waits else b""
        data = self._decoder.decode(packed, BLOCK)
        if not data and not packed and self._decoder.waits and not self._decoder.eof:
            raise EOFError("it ends in the middle")
        return data


def _decoder(kind: str) -> _Decoder:
    if kind == "gzip":
        return _Gzip()
    return _Buffered(bz2.BZ2Decompressor() if kind == "bzip2" else lzma.LZMADecompressor(memlimit=DECODER))


class BoundedHeader(tarfile.TarInfo):
    """A header of a tar archive. Those that hold names and attributes are read whole: they may be that long only."""

    LONG = (
        tarfile.GNUTYPE_LONGNAME,
        tarfile.GNUTYPE_LONGLINK,
        tarfile.XHDTYPE,
        tarfile.XGLTYPE,
        tarfile.SOLARIS_XHDTYPE,
    )

    def _proc_member(self, archive: tarfile.TarFile) -> Any:
        """Refuse before tarfile reads it. Raises ArchiveLimit."""
        if self.type in self.LONG and self.size > HEADER:
            raise ArchiveLimit(f"a header of {self.size} bytes for names and attributes")
        return super()._proc_member(archive)  # type: ignore[misc]
