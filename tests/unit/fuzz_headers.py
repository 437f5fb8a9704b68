"""Fuzzes the readers of hostile files with coverage guidance: safetensors headers, pickles, archives.

    python tests/unit/fuzz_headers.py -runs=20000 CORPUS

Every input ends as tensors or as one sentence; anything else is a crash. test_fuzz.py runs it for a fixed number of
inputs.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["steelyard.models", "zipfile", "tarfile", "json"]):
    from steelyard.errors import SourceRefused
    from steelyard.models.content.chunking import chunk_lengths
    from steelyard.models.content.safetensors import HeaderWrong, tensors_of
    from steelyard.models.sources import archive, unpickle

PLACE = Path(tempfile.mkdtemp())


def one(data: bytes) -> None:
    """The first byte says which reader gets the rest."""
    kind, path = (data[0] % 4 if data else 0), PLACE / "input"
    path.write_bytes(data[1:])
    if kind == 0:
        try:
            tensors = tensors_of(path)
        except HeaderWrong as error:
            assert "\n" not in str(error)
        else:
            assert sum(chunk_lengths(path.stat().st_size, tensors, 64 << 10)) == path.stat().st_size
    elif kind == 1:
        target = PLACE / "target"
        target.unlink(missing_ok=True)
        with contextlib.suppress(unpickle.CheckpointRefused):
            unpickle.convert(path, target)
    else:
        folder = PLACE / "folder"
        with contextlib.suppress(SourceRefused):
            archive.unpack(path, "x.zip" if kind == 2 else "x.tar", folder, "llm/x", "x")
        left = [found for found in PLACE.rglob("*") if found.is_symlink()]
        assert left == [], left


if __name__ == "__main__":
    atheris.Setup(sys.argv, one)
    atheris.Fuzz()
