"""A plugin's dependencies for hosts without a network: uv's own cache, filled where there is one, proved, and packed.

The daemon installs an unmodified package with `uv sync --frozen`: its lock names files by absolute addresses, so no
index of yours is asked, but uv's cache is (docs/design/dify.md). The signature of the package stays whole.

uv keeps each generation of its format in buckets of its own and reads no other's without a network. Which uv a daemon
has was decided when its image was built; so a cache is filled by one uv of each generation, or by those that are named.
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
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from steelyard.artifacts.uv import uv_of_release, uv_program, uv_release
from steelyard.errors import DifyPluginWrong, DifySeedFailed

TIMEOUT_S = 900
WHERE = "steelyard dify seed"
# the newest of each generation: of 0.9, of 0.10 to 0.12, of 0.13.0 to 0.13.8, and the one of 0.13.9
GENERATIONS = ("0.9.30", "0.12.10", "0.13.8", "0.13.9")
NOWHERE = "http://127.0.0.1:9"  # a proxy that is not there: what the daemon of an offline host can reach


@dataclass(frozen=True)
class Seed:
    """A packed cache: what `dify.plugins[].cache` names. `failed`: releases of uv that cannot use it, and why."""

    path: Path
    sha256: str
    size: int
    uv: str
    failed: tuple[tuple[str, str], ...] = ()


def releases_to_fill_for(own: str) -> tuple[str, ...]:
    """Releases of uv that fill a cache for a daemon whose uv is not known; `own` too, where it is newer than all."""
    return GENERATIONS + ((own,) if _numbers(own) > _numbers(GENERATIONS[-1]) else ())


def _numbers(release: str) -> tuple[int, ...]:
    return tuple(int(part) for part in release.split(".") if part.isdigit())


def make_seed(package: Path, python: str, target: Path, releases: Sequence[str] = ()) -> Seed:
    """Fill a cache from the network, install from copies of it with none, pack it.

    `releases`: those of uv that must be able to use it; none: one of each generation, of which some may fail. Raises
    DifyPluginWrong, DifySeedFailed.
    """
    wanted = tuple(dict.fromkeys(releases)) or releases_to_fill_for(uv_release(uv_program(WHERE)))
    with tempfile.TemporaryDirectory() as made:
        work = Path(made).resolve()
        _unpack(package, work / "plugin")
        failed: dict[str, str] = {}
        programs = {release: _program(release, work, failed) for release in wanted}
        for release, uv in programs.items():
            if release not in failed:
                _install(uv, work, "cache", python, release, failed)
        _make_movable(work / "cache")
        packed = (work / "cache").rename(work / "packed")  # what points to where it was filled does not on a host
        for release, uv in programs.items():
            if release not in failed:
                shutil.copytree(packed, work / "proof", symlinks=True)
                _install(uv, work, "proof", python, release, failed, no_network=True)
                shutil.rmtree(work / "proof")
        proved = [release for release in wanted if release not in failed]
        if not proved or (releases and failed):
            first = next(iter(failed))
            raise DifySeedFailed(where=WHERE, package=package.name, why=f"uv {first}: {failed[first]}")
        sha256 = _packed(packed, target)
    return Seed(target, sha256, target.stat().st_size, f"uv {', '.join(proved)}", tuple(failed.items()))


def _unpack(package: Path, folder: Path) -> None:
    """Unpack a plugin. Raises DifyPluginWrong, and DifySeedFailed for one that no cache can be made for."""
    try:
        with zipfile.ZipFile(package) as archive:
            archive.extractall(folder)  # zipfile keeps members inside
    except (OSError, zipfile.BadZipFile) as error:
        raise DifyPluginWrong(where=WHERE, package=str(package), why="is no plugin package") from error
    if not ((folder / "pyproject.toml").exists() and (folder / "uv.lock").exists()):
        why = "it has no uv.lock, so Dify's daemon asks an index for each of them, whatever its cache holds"
        raise DifySeedFailed(where=WHERE, package=package.name, why=why)


def _program(release: str, work: Path, failed: dict[str, str]) -> str:
    program, why = uv_of_release(release, work / f"uv-{release}", WHERE)
    if why:
        failed[release] = f"it cannot be had: {why}"
    return program


def _make_movable(cache: Path) -> None:
    """Make links within a cache relative: uv 0.9 writes the path of the folder into them, and later ones keep that."""
    cache.mkdir(exist_ok=True)
    for path in cache.rglob("*"):
        if path.is_symlink() and path.readlink().is_relative_to(cache):
            place = path.readlink()
            path.unlink()
            path.symlink_to(os.path.relpath(place, path.parent))


def _install(
    uv: str, work: Path, cache: str, python: str, release: str, failed: dict[str, str], *, no_network: bool = False
) -> None:
    """Install as the daemon does, by the lock; without a network as it does too, which is not what `--offline` does."""
    plugin = work / "plugin"
    shutil.rmtree(plugin / ".venv", ignore_errors=True)
    # no configuration of this machine: another index would be another key in the cache
    environment = {name: value for name, value in os.environ.items() if name != "UV_OFFLINE"}
    environment |= {"UV_CACHE_DIR": str(work / cache), "VIRTUAL_ENV": str(plugin / ".venv")}
    if no_network:
        proxies = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
        environment |= dict.fromkeys((*proxies, *map(str.lower, proxies)), NOWHERE)
        environment |= {"NO_PROXY": "", "no_proxy": "", "UV_HTTP_RETRIES": "0"}
    step = [uv, "sync", "--no-dev", "--frozen", "--python", python, "--no-config", "--quiet"]
    try:
        done = subprocess.run(step, cwd=plugin, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        failed[release] = f"no end after {TIMEOUT_S} s"
        return
    if done.returncode != 0:
        message = " ".join(done.stderr.split())[-300:] or "no word of why"
        failed[release] = ("without a network: " if no_network else "") + message


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
