"""The compiled hash library for hosts: one file per Python and machine, out of blake3's own wheel.

The controller's own serves hosts like it; for others pip fetches the wheel once, and it is kept.
"""

from __future__ import annotations

import io
import platform
import subprocess
import sys
import tempfile
import zipfile
from functools import lru_cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from steelyard.dirs import cache_folder, write_private
from steelyard.errors import HashLibraryMissing


@lru_cache
def hash_library(python: str, machine: str) -> bytes:
    """The shared object of blake3, for a Python as `3.11` on a machine as `x86_64`. Raises HashLibraryMissing."""
    if python == f"{sys.version_info.major}.{sys.version_info.minor}" and machine == platform.machine():
        spec = find_spec("blake3.blake3")
        if spec is not None and spec.origin is not None:
            return Path(spec.origin).read_bytes()
    version = metadata.version("blake3")
    cached = cache_folder() / "native" / f"blake3-{version}-cp{python.replace('.', '')}-{machine}.so"
    if not cached.is_file():
        write_private(cached, _library_in(_wheel(version, python, machine, cached)))
    return cached.read_bytes()


def _wheel(version: str, python: str, machine: str, cached: Path) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        arguments = [
            "download",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
            "--only-binary",
            ":all:",
            "--dest",
            folder,
        ]
        arguments += ["--python-version", python, "--implementation", "cp", "--platform", f"manylinux2014_{machine}"]
        command = [sys.executable, "-m", "pip", *arguments, f"blake3=={version}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        wheels = sorted(Path(folder).glob("*.whl"))
        if done.returncode != 0 or not wheels:
            why = (done.stderr.strip().splitlines() or ["pip found no wheel"])[-1]
            raise HashLibraryMissing(
                where="pip", version=version, python=python, machine=machine, why=why, kept=str(cached)
            )
        return wheels[0].read_bytes()


def _library_in(wheel: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        return archive.read(next(name for name in archive.namelist() if name.endswith(".so")))
