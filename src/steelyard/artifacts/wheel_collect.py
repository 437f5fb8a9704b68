"""Fills a folder with the wheels of a set: several at once, each taken up where it stopped, each held against its
sha256.

A wheel has its name only when its content was compared, so whatever ends this leaves whole wheels and `.part` files.
The lock comes last: a folder that has one is complete, and is left alone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from threading import Lock

from steelyard.errors import DownloadFailed, WheelsNotCollected
from steelyard.events import BytesMoved, Emit, ignore
from steelyard.models.sources.web import download
from steelyard_host.mirror import wheels as host_wheels
from steelyard_host.system.digest import sha256_file

from .wheel_folder import WheelFolder, begun, read_folder, write_record
from .wheel_index import Index, index_of
from .wheel_resolution import ResolvedWheels, Wheel, resolve
from .wheel_sets import WheelSet, shim_wheel
from .wheel_target import Target

AT_ONCE = 6
HERE = "this machine"


def collect(resolution: ResolvedWheels, path: Path, index: Index, emit: Emit = ignore) -> WheelFolder:
    """Every wheel of `resolution` in `path`, and the lock. Raises WheelsNotCollected; what came stays."""
    if (path / host_wheels.LOCK).is_file():
        return read_folder(path)
    write_record(path, resolution)
    files = path / "files"
    files.mkdir(parents=True, exist_ok=True)
    wanted = {wheel.file for wheel in resolution.wheels}
    for strange in [wheel for wheel in files.glob("*.whl") if wheel.name not in wanted]:
        strange.unlink()  # of a collection that was begun with other wheels
    progress = _Progress(resolution, emit)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        # the big ones first: they decide how long it takes
        work = {
            pool.submit(_bring, wheel, files / wheel.file, resolution, index, progress): wheel
            for wheel in sorted(resolution.wheels, key=lambda wheel: -(wheel.size or 0))
        }
        try:
            for done in as_completed(work):
                done.result()
        except DownloadFailed as error:
            pool.shutdown(cancel_futures=True)
            raise WheelsNotCollected(
                where=str(path), engine=resolution.chosen.title, why=f"{error.where}: {error.why}"
            ) from error
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    host_wheels.index(path)
    return read_folder(path)


class _Progress:
    """Bytes of all wheels together; told by several threads."""

    def __init__(self, resolution: ResolvedWheels, emit: Emit) -> None:
        self._what, self._total, self._emit = resolution.chosen.title, resolution.total, emit
        self._done: dict[str, int] = {}
        self._lock = Lock()

    def moved(self, wheel: Wheel, done: int) -> None:
        with self._lock:
            self._done[wheel.file] = max(done, self._done.get(wheel.file, 0))
            self._emit(BytesMoved(HERE, self._what, sum(self._done.values()), self._total))


def _bring(wheel: Wheel, target: Path, resolution: ResolvedWheels, index: Index, progress: _Progress) -> None:
    """One wheel. Raises DownloadFailed, also where the index gave other content twice."""
    if target.is_file() and sha256_file(target) == wheel.sha256:
        progress.moved(wheel, target.stat().st_size)
        return
    target.unlink(missing_ok=True)
    if not wheel.url:
        target.write_bytes(shim_wheel(resolution.chosen))
        return
    arrived = target.with_name(f".{wheel.file}.arrived")
    on_progress: Callable[[int, int], None] = lambda done, total: progress.moved(wheel, done)  # noqa: E731
    for _ in range(2):  # what a try before left may be of another file
        with contextlib.suppress(FileNotFoundError):
            arrived.unlink()
        download(wheel.url, arrived, on_progress, index.open)
        if sha256_file(arrived) == wheel.sha256:
            arrived.rename(target)
            progress.moved(wheel, target.stat().st_size)
            return
        arrived.unlink()
    raise DownloadFailed(where=wheel.file, why=f"its sha256 is not {wheel.sha256[:12]}, which the index promised")


def collect_for(chosen: WheelSet, target: Target, path: Path, say: Callable[[str], None]) -> Path:
    """Resolve and collect in one go, as the lab does it; the lock. Raises as `resolve` and `collect` do."""
    if not (path / host_wheels.LOCK).is_file():
        index = index_of()
        resolution = begun(path, chosen, target) or resolve(chosen, target, index)
        say(f"collecting wheels of {chosen.title} ({resolution.total / 1e9:.1f} GB, once)")
        collect(resolution, path, index)
    return path / host_wheels.LOCK


def local_wheel(path: Path) -> Wheel:
    """A file of this machine as part of a set."""
    return Wheel(path.name, sha256_file(path), path.absolute().as_uri(), path.stat().st_size)
