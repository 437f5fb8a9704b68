"""The place of uv, which resolves for another Python and another C library than those here, as pip cannot."""

from __future__ import annotations

import shutil

from steelyard.errors import LibraryMissing


def uv_program(where: str) -> str:
    """The path of uv: that of the same environment, else of the PATH. Raises LibraryMissing."""
    try:
        from uv import find_uv_bin

        return str(find_uv_bin())
    except (ImportError, FileNotFoundError):
        program = shutil.which("uv")
    if program is None:
        raise LibraryMissing(where=where, library="uv", extra="dify")
    return program
