"""A plugin's dependencies for hosts without a network: uv's own cache, filled where there is one, proved, and packed.

The daemon installs an unmodified package with `uv sync --frozen`: its lock names files by absolute addresses, so no
index of yours is asked, but uv's cache is (docs/design/dify.md). The signature of the package stays whole.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import shutil
import subprocess
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from steelyard.artifacts.uv import uv_program
from steelyard.errors import DifyPluginWrong, DifySeedFailed

TIMEOUT_S = 900


@dataclass(frozen=True)
class Seed:
    """A packed cache: what `dify.plugins[].cache` names."""

    path: Path
    sha256: str
    size: int
    uv: str


def make_seed(package: Path, python: str, target: Path) -> Seed:
    """Fill a cache from the network, install from a copy of it with none, pack it. Raises DifyPluginWrong,
    DifySeedFailed.
    """
    uv = uv_program("steelyard dify seed")
    with tempfile.TemporaryDirectory() as made:
        work = Path(made)
        try:
            with zipfile.ZipFile(package) as archive:
                archive.extractall(work / "plugin")  # zipfile keeps members inside
        except (OSError, zipfile.BadZipFile) as error:
            raise DifyPluginWrong(
                where="steelyard dify seed", package=str(package), why="is no plugin package"
            ) from error
        _install(uv, work, "cache", python, package)
        shutil.copytree(work / "cache", work / "proof", symlinks=True)
        _install(uv, work, "proof", python, package, "--offline")
        sha256 = _packed(work / "cache", target)
    version = subprocess.run([uv, "--version"], capture_output=True, text=True).stdout.strip()
    return Seed(target, sha256, target.stat().st_size, version)


def _install(uv: str, work: Path, cache: str, python: str, package: Path, *more: str) -> None:
    """Install as the daemon does: by the lock where there is a pyproject.toml, else by requirements.txt."""
    plugin = work / "plugin"
    shutil.rmtree(plugin / ".venv", ignore_errors=True)
    # no configuration of this machine: another index would be another key in the cache
    environment = {**os.environ, "UV_CACHE_DIR": str(work / cache), "VIRTUAL_ENV": str(plugin / ".venv")}
    common = ["--no-config", "--quiet", *more]
    if (plugin / "pyproject.toml").exists():
        frozen = ["--frozen"] if (plugin / "uv.lock").exists() else []
        steps = [[uv, "sync", "--no-dev", *frozen, "--python", python, *common]]
    else:
        steps = [
            [uv, "venv", "--python", python, *common, str(plugin / ".venv")],
            [uv, "pip", "install", *common, "-r", "requirements.txt"],
        ]
    for step in steps:
        done = subprocess.run(step, cwd=plugin, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S)
        if done.returncode != 0:
            message = " ".join(done.stderr.split())[-300:] or "no word of why"
            raise DifySeedFailed(where="steelyard dify seed", package=package.name, why=message)


def _packed(folder: Path, target: Path) -> str:
    """The same bytes for the same cache; its sha256."""
    with io.BytesIO() as stream:
        with tarfile.open(fileobj=stream, mode="w") as archive:
            for path in sorted(folder.rglob("*")):
                entry = archive.gettarinfo(str(path), path.relative_to(folder).as_posix())
                entry.mtime, entry.uid, entry.gid, entry.uname, entry.gname = 0, 0, 0, "", ""
                if entry.isreg():
                    with path.open("rb") as file:
                        archive.addfile(entry, file)
                else:
                    archive.addfile(entry)
        content = gzip.compress(stream.getvalue(), 6, mtime=0)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def read_seed(path: str, sha256: str) -> bytes:
    """The packed cache. Raises DifyPluginWrong: not there, or another."""
    try:
        content = Path(path).expanduser().read_bytes()
    except OSError as error:
        raise DifyPluginWrong(where="dify.plugins", package=path, why=f"cannot be read: {error.strerror}") from error
    actual = hashlib.sha256(content).hexdigest()
    if actual != sha256:
        raise DifyPluginWrong(where="dify.plugins", package=path, why=f"has another hash: sha256 {actual}")
    return content
