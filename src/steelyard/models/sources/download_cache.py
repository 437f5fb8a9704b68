"""Downloads that this machine keeps of versions that it fetched or made, and what of it nobody needs: all of it can be
had again.

A user's inventories share it, and only one of them is asked. So what was used not long ago stays as well: every use
sets the time of the record, the folder or the file that was used.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from steelyard.dirs import cache_folder, state_folder
from steelyard.errors import SteelyardError

from . import is_local, record_of
from .convert import converted_folder
from .record import source_folder
from .resolve import files_of

if TYPE_CHECKING:
    from steelyard.site.site import Site

ARRIVING_S = 24 * 3600  # what changed so lately may be on its way here


class DownloadKind(StrEnum):
    """The kind of a download.

    `address`: what comes from one, whole or not; files of what was fetched from it are links to the same bytes.
    """

    FETCHED = "fetched"
    HUB = "hub"
    ADDRESS = "address"
    CONVERTED = "shaped"
    HASHES = "hashes"


@dataclass(frozen=True)
class Download:
    """One thing that is kept.

    `used`: seconds since 1970; `paths`: what goes with it, a record before the files it names; `stays`: why it does, if
    so.
    """

    kind: DownloadKind
    name: str
    paths: tuple[Path, ...]
    used: float
    size: int = 0
    stays: str | None = None


def downloads(site: Site, before: float, now: float) -> list[Download]:
    """Downloads that are kept here, all of them.

    What was last used before `before` and is not declared may go; hashes are told in two parts.
    """
    declared = _declared(site)
    return [replace(download, stays=_reason(download, declared, before, now)) for download in _all(before)]


def _reason(download: Download, declared: set[Path], before: float, now: float) -> str | None:
    if download.kind is DownloadKind.HUB:
        return "other programs of the Hub's use it too; `hf cache` removes it"
    if declared.intersection(download.paths):
        return "declared"
    if download.used >= before:
        return "used since"
    arrives = download.kind is DownloadKind.ADDRESS or (
        download.kind is DownloadKind.CONVERTED and "." in download.name
    )
    return "may be on its way" if arrives and download.used >= now - ARRIVING_S else None


def _declared(site: Site) -> set[Path]:
    """Folders that the inventory's versions are made from."""
    folders = set()
    for project, model in site.models.items():
        record = None if is_local(model.source) else record_of(model.source)
        if record is not None:
            folders.add(Path(record.folder).parent)
        if not model.conversion.changes:
            continue
        try:
            local = Path(model.source.removeprefix("file://"))
            paths = record.paths if record else files_of(project, local, model.code, model.convert)
        except SteelyardError:
            continue  # whoever uses it says so
        folders.add(converted_folder(model.source, paths, model.conversion))
    return folders


def _all(before: float) -> Iterator[Download]:
    sources, addresses, fetched = cache_folder() / "sources", {}, set()
    for record in sorted((state_folder() / "sources").glob("*.json")):
        try:
            stored = json.loads(record.read_text())
            uri, folder = str(stored["source"]), Path(stored["folder"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
        addresses[source_folder(uri.split("#")[0])] = uri.split("#")[0]
        used = record.stat().st_mtime
        if uri.startswith("hf://"):
            yield Download(DownloadKind.HUB, uri, (record, folder), used, _size(folder))
        elif folder.parent.parent == sources:
            fetched.add(folder.parent)
            yield Download(DownloadKind.FETCHED, uri, (record, folder.parent), used, _size(folder.parent))
    for folder in _folders(sources):
        if folder not in fetched:
            name = addresses.get(folder, "unknown")
            yield Download(DownloadKind.ADDRESS, name, (folder,), _newest(folder), _size(folder))
    for folder in _folders(cache_folder() / "shaped"):
        yield Download(DownloadKind.CONVERTED, folder.name, (folder,), folder.stat().st_mtime, _size(folder))
    hashes = [(path, path.stat()) for path in _inside(cache_folder() / "hashes")]
    for old in (True, False):
        part = [(path, stat) for path, stat in hashes if (stat.st_mtime < before) is old]
        if part:
            newest, size = max(stat.st_mtime for _, stat in part), sum(stat.st_size for _, stat in part)
            yield Download(DownloadKind.HASHES, f"of {len(part)} files", tuple(path for path, _ in part), newest, size)


def _folders(above: Path) -> list[Path]:
    return sorted(path for path in _inside(above) if path.is_dir() and not path.is_symlink())


def _inside(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _files(folder: Path) -> Iterator[os.stat_result]:
    for path in folder.rglob("*"):
        try:
            if path.is_file():
                yield path.stat()
        except OSError:
            continue  # it has just gone


def _size(folder: Path) -> int:
    return sum(stat.st_size for stat in _files(folder))


def _newest(folder: Path) -> float:
    return max((stat.st_mtime for stat in _files(folder)), default=folder.stat().st_mtime)


def freed(gone: Iterable[Download]) -> int:
    """Bytes that the disk has more without them: of a file with several links only where all of them go."""
    links: Counter[tuple[int, int]] = Counter()
    stats = {}
    for path in (path for download in gone for path in download.paths):
        for stat in _files(path) if path.is_dir() else [path.stat()] if path.exists() else []:
            links[stat.st_dev, stat.st_ino] += 1
            stats[stat.st_dev, stat.st_ino] = stat
    return sum(stat.st_size for inode, stat in stats.items() if links[inode] >= stat.st_nlink)


def remove(doomed: Iterable[Download]) -> list[Download]:
    """Remove them; gives those back that could not be, with why."""
    refused = []
    for download in doomed:
        try:
            for path in download.paths:
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
        except OSError as error:
            refused.append(replace(download, stays=f"{error.strerror}: {error.filename}"))
    return refused
