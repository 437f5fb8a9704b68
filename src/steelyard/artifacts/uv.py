"""Programs of uv: the one here, which resolves for another Python and another C library as pip cannot, and others."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

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


def uv_release(program: str) -> str:
    """The release of a program of uv, as `0.13.9`; empty where it does not say."""
    done = subprocess.run([program, "--version"], capture_output=True, text=True)
    return (done.stdout.split() or ["", ""])[1:2][0] if done.returncode == 0 else ""


def uv_of_release(release: str, folder: Path, where: str) -> tuple[str, str]:
    """The path of uv of this release, and empty; or an empty path, and why there is none.

    The one here where it is that one, else from the package index that is set up here, into `folder`.
    """
    own = uv_program(where)
    if uv_release(own) == release:
        return own, ""
    into = ["--quiet", "--no-deps", "--only-binary", ":all:", "--target", str(folder), "--python", sys.executable]
    done = subprocess.run([own, "pip", "install", *into, f"uv=={release}"], capture_output=True, text=True)
    program = folder / "bin" / "uv"
    if done.returncode != 0 or not program.exists():
        return "", " ".join(done.stderr.split())[-300:] or "its package has no program"
    return str(program), ""
