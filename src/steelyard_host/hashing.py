"""blake3 on a host: a compiled library beside the helper, because Python cannot load one out of a zipapp.

blake3 is a tree over 1 KiB leaves, so it is as fast as memory with a few cores; sha256 is not (facts: store.md section 5).
"""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

LIBRARY = Path("/usr/lib/steelyard/blake3.so")
BLOCK = 8 << 20  # bytes that a thread reads and hashes at once


class NoHashLibrary(Exception):
    """This host has no blake3 that its Python can load; a sentence."""


@cache
def blake3() -> Callable[..., Any]:
    """The hash's constructor. Raises NoHashLibrary."""
    try:
        return import_module("blake3").blake3  # type: ignore[no-any-return]
    except ImportError:
        spec = importlib.util.spec_from_file_location("blake3", str(LIBRARY))
    if spec is None or spec.loader is None or not LIBRARY.exists():
        raise NoHashLibrary("%s is not there; `steelyard apply` installs it" % LIBRARY)
    try:
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except ImportError as error:
        raise NoHashLibrary("%s is not for this Python: %s" % (LIBRARY, error)) from error
    return module.blake3  # type: ignore[no-any-return]


def digest(data: Any) -> str:
    return blake3()(data).hexdigest()  # type: ignore[no-any-return]


def content_id(manifest: dict[str, Any]) -> str:
    """The id of a manifest: the hash of the canonical form of its files and tensors."""
    content = {key: manifest[key] for key in ("format", "files", "tensors")}
    return digest(json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode())


def wrong_chunks(path: Path, chunks: list[tuple[int, int, str]], workers: int = 0) -> list[int]:
    """Numbers of the (offset, size, hash) that the file does not hold; all of them where it cannot be read.

    Every byte is read once, by as many threads as there are processors: reading and hashing both leave Python's lock.
    """
    if not chunks:
        return []
    blake3()
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return list(range(len(chunks)))
    try:
        with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
            found = pool.map(lambda span: _wrong_in(handle, chunks, span), _spans(chunks))
            return [number for numbers in found for number in numbers]
    finally:
        os.close(handle)


def _spans(chunks: list[tuple[int, int, str]]) -> list[range]:
    """Runs of chunks of about a block each: one read, several hashes."""
    spans, first, size = [], 0, 0
    for number, (_, length, _) in enumerate(chunks):
        if size and size + length > BLOCK:
            spans.append(range(first, number))
            first, size = number, 0
        size += length
    return [*spans, range(first, len(chunks))]


def _wrong_in(handle: int, chunks: list[tuple[int, int, str]], span: range) -> list[int]:
    wrong = []
    buffer = bytearray(max(chunks[number][1] for number in span))
    for number in span:
        offset, size, wanted = chunks[number]
        view = memoryview(buffer)[:size]
        try:
            whole = os.preadv(handle, [view], offset) == size
        except OSError:
            whole = False  # a disk that cannot read it does not hold it
        if not whole or digest(view) != wanted:
            wrong.append(number)
    return wrong
