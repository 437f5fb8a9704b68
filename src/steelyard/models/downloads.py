"""What this machine keeps of versions that it fetched or made, and what of it nobody needs: all of it can be had again.

A user's inventories share it, and only one of them is asked. So what was used not long ago stays as well: every use sets the
time of the record, the folder or the file that was used.
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

from steelyard.cache import cache_folder, state_folder
from steelyard.errors import SteelyardError

from .source import files_of
from .sources import is_local, kept
from .sources.record import place
from .sources.shape import shaped_folder

if TYPE_CHECKING:
    from steelyard.site import Site

ARRIVING_S = 24 * 3600  # what changed so lately may be on its way here


class Kind(StrEnum):
    """`address`: what comes from one, whole or not; files of what was fetched from it are links to the same bytes."""

    FETCHED = "fetched"
    HUB = "hub"
    ADDRESS = "address"
    SHAPED = "shaped"
    HASHES = "hashes"


@dataclass(frozen=True)
class Download:
    """`used`: seconds since 1970; `paths`: what goes with it, a record before the files it names; `stays`: why it does, if so."""

    kind: Kind
    name: str
    paths: tuple[Path, ...]
    used: float
    size: int = 0
    stays: str | None = None


def downloads(site: Site, before: float, now: float) -> list[Download]:
    """Everything that is kept here. What was last used before `before` and is not declared may go; hashes are told in two parts."""
    declared = _declared(site)
    return [replace(found, stays=_reason(found, declared, before, now)) for found in _all(before)]


def _reason(found: Download, declared: set[Path], before: float, now: float) -> str | None:
    if found.kind is Kind.HUB:
        return "other programs of the Hub's use it too; `hf cache` removes it"
    if declared.intersection(found.paths):
        return "declared"
    if found.used >= before:
        return "used since"
    arrives = found.kind is Kind.ADDRESS or (found.kind is Kind.SHAPED and "." in found.name)
    return "may be on its way" if arrives and found.used >= now - ARRIVING_S else None


def _declared(site: Site) -> set[Path]:
    """Folders that the inventory's versions are made from."""
    found = set()
    for project, model in site.models.items():
        record = None if is_local(model.source) else kept(model.source)
        if record is not None:
            found.add(Path(record.folder).parent)
        if not model.shape.changes:
            continue
        try:
            local = Path(model.source.removeprefix("file://"))
            paths = record.paths if record else files_of(project, local, model.code, model.convert)
        except SteelyardError:
            continue  # whoever uses it says so
        found.add(shaped_folder(model.source, paths, model.shape))
    return found


def _all(before: float) -> Iterator[Download]:
    sources, addresses, fetched = cache_folder() / "sources", {}, set()
    for record in sorted((state_folder() / "sources").glob("*.json")):
        try:
            told = json.loads(record.read_text())
            uri, folder = str(told["source"]), Path(told["folder"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
        addresses[place(uri.split("#")[0])] = uri.split("#")[0]
        used = record.stat().st_mtime
        if uri.startswith("hf://"):
            yield Download(Kind.HUB, uri, (record, folder), used, _size(folder))
        elif folder.parent.parent == sources:
            fetched.add(folder.parent)
            yield Download(Kind.FETCHED, uri, (record, folder.parent), used, _size(folder.parent))
    for folder in _folders(sources):
        if folder not in fetched:
            name = addresses.get(folder, "unknown")
            yield Download(Kind.ADDRESS, name, (folder,), _newest(folder), _size(folder))
    for folder in _folders(cache_folder() / "shaped"):
        yield Download(Kind.SHAPED, folder.name, (folder,), folder.stat().st_mtime, _size(folder))
    hashes = [(path, path.stat()) for path in _inside(cache_folder() / "hashes")]
    for old in (True, False):
        part = [(path, found) for path, found in hashes if (found.st_mtime < before) is old]
        if part:
            newest, size = max(found.st_mtime for _, found in part), sum(found.st_size for _, found in part)
            yield Download(Kind.HASHES, f"of {len(part)} files", tuple(path for path, _ in part), newest, size)


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
    return sum(found.st_size for found in _files(folder))


def _newest(folder: Path) -> float:
    return max((found.st_mtime for found in _files(folder)), default=folder.stat().st_mtime)


def freed(gone: Iterable[Download]) -> int:
    """Bytes that the disk has more without them: of a file with several links only where all of them go."""
    links: Counter[tuple[int, int]] = Counter()
    stats = {}
    for path in (path for download in gone for path in download.paths):
        for found in _files(path) if path.is_dir() else [path.stat()] if path.exists() else []:
            links[found.st_dev, found.st_ino] += 1
            stats[found.st_dev, found.st_ino] = found
    return sum(found.st_size for inode, found in stats.items() if links[inode] >= found.st_nlink)


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
