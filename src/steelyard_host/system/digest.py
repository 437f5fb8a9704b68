"""sha256 of what is read block by block, however large it is."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import IO

BLOCK = 1 << 20  # bytes


def sha256_stream(stream: IO[bytes]) -> str:
    """The sha256 of the rest of a stream, in hexadecimal."""
    digest = hashlib.sha256()
    for block in iter(lambda: stream.read(BLOCK), b""):
        digest.update(block)
    return digest.hexdigest()


def sha256_file(path: Path) -> str:
    """The sha256 of a file, in hexadecimal. Raises OSError."""
    with path.open("rb") as stream:
        return sha256_stream(stream)
