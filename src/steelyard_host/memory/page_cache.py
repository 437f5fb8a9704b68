"""Files mapped to be looked at or locked, never to be read through: Python's own mmap knows neither mincore nor
mlock.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any


@cache
def libc() -> Any:
    """The C library, with the calls that map, ask and lock."""
    library = ctypes.CDLL(None, use_errno=True)
    library.mmap.restype = ctypes.c_void_p
    library.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
    library.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]
    library.mlock.argtypes = library.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    return library


def mapped(path: Path, size: int) -> int | None:
    """The address at which the file is mapped until munmap or the end of the process; None where it cannot be."""
    handle = os.open(path, os.O_RDONLY)
    try:
        at = libc().mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, handle, 0)
    finally:
        os.close(handle)
    return None if at in (None, ctypes.c_void_p(-1).value) else int(at)


@contextmanager
def mapping(path: Path, size: int) -> Iterator[int | None]:
    """The file mapped for a while; None where it cannot be."""
    at = mapped(path, size)
    try:
        yield at
    finally:
        if at is not None:
            libc().munmap(at, size)


def resident(path: Path) -> int:
    """Bytes of a file that are in the page cache."""
    size = path.stat().st_size
    if not size:
        return 0
    pages = (size + mmap.PAGESIZE - 1) // mmap.PAGESIZE
    flags = ctypes.create_string_buffer(pages)
    with mapping(path, size) as at:
        if at is None or libc().mincore(at, size, flags):
            return 0
    return min(size, sum(byte & 1 for byte in flags.raw) * mmap.PAGESIZE)


def lock(path: Path) -> str | None:
    """Keeps a file's pages in memory while the process lives. Why it cannot be, or None."""
    size = path.stat().st_size
    at = mapped(path, size) if size else None
    if size and (at is None or libc().mlock(at, size)):
        return os.strerror(ctypes.get_errno())
    return None
