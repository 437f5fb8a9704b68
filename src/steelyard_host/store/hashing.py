"""blake3 on a host: a compiled library beside the helper, because Python cannot load one out of a zipapp.

blake3 is a tree over 1 KiB leaves, so it is as fast as memory with a few cores; sha256 is not
(docs/design/model-store.md).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from steelyard_host import paths
from steelyard_host.errors import HelperError

LIBRARY = Path(paths.HASH_LIBRARY)
BLOCK = 8 << 20  # bytes that a thread reads and hashes at once


class NoHashLibrary(HelperError):
    """This host has no blake3 that its Python can load."""


@cache
def blake3() -> Callable[..., Any]:
    """The hash's constructor. Raises NoHashLibrary."""
    try:
        return import_module("blake3").blake3  # type: ignore[no-any-return]
    except ImportError:
        from importlib.util import module_from_spec, spec_from_file_location

        spec = spec_from_file_location("blake3", str(LIBRARY))
    if spec is None or spec.loader is None or not LIBRARY.exists():
        raise NoHashLibrary("%s is not there; `steelyard apply` installs it" % LIBRARY)
    try:
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
    except ImportError as error:
        raise NoHashLibrary("%s is not for this Python: %s" % (LIBRARY, error)) from error
    return module.blake3  # type: ignore[no-any-return]


def digest(data: Any) -> str:
    """The blake3 of some bytes, in hexadecimal. Raises NoHashLibrary."""
    return blake3()(data).hexdigest()  # type: ignore[no-any-return]


def content_id(manifest: dict[str, object]) -> str:
    """The id of a manifest: the hash of the canonical form of its files and tensors."""
    content = {key: manifest[key] for key in ("format", "files", "tensors")}
    return digest(json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode())


def wrong_chunks(path: Path, chunks: list[tuple[int, int, str]], workers: int = 0) -> list[int]:
    """Numbers of the (offset, size, hash) that the file does not hold; all of them where it cannot be read.

    Every byte is read once, by as many threads as there are processors: reading and hashing both leave Python's lock.
    """
    if not chunks:
        return []
    from concurrent.futures import ThreadPoolExecutor  # loads more than all the rest of a helper's call

    blake3()
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return list(range(len(chunks)))
    try:
        with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
            wrong = pool.map(lambda span: _wrong_in(handle, chunks, span), _spans(chunks))
            return [number for numbers in wrong for number in numbers]
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
