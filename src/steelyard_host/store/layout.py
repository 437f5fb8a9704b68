"""The layout of a host's model store, and what it holds, read without a byte of a model.

Layout below the model root:
    PROJECT/VERSION/               the files, read-only, root's; visible only when whole and verified
    PROJECT/current                symlink, replaced by rename
    PROJECT/previous               symlink to what `current` named before
    .steelyard/staging/NAME/       what is being received; NAME is project and version, quoted
    .steelyard/staging/NAME.lock   flock'd by whoever receives it
    .steelyard/published/NAME.json id of the manifest and, per file, hashes and size, mtime, mode at publication
    .steelyard/manifests/ID.json   the manifest, with every chunk's hash
    .steelyard/leases/NAME/WHO     keeps a version from being removed, until a time; see leases.py
"""

from __future__ import annotations

import os
import urllib.parse
from pathlib import Path
from typing import Any, NamedTuple

from steelyard_host.system import json_file, vanishing

STATE = ".steelyard"
MANIFEST = "its manifest"  # among files that are not as they were published


class PublishedFile(NamedTuple):
    """A file at its publication. `stat`: size, mtime in ns and permission bits."""

    size: int
    sha256: str
    blake3: str
    stat: list[int]


class PublishedVersion(NamedTuple):
    """The record of a published version. `id`: of its manifest; `files`: by their names in the version's folder."""

    project: str
    version: str
    id: str
    files: dict[str, PublishedFile]

    def folder(self, root: Path) -> Path:
        return root / self.project / self.version


class PlacedChunk(NamedTuple):
    """A chunk and its place in a version; `number` counts through the files of the manifest in their order."""

    number: int
    file: str
    offset: int
    size: int
    hash: str


class ChunkSource(NamedTuple):
    """The place of a chunk's bytes in a file of this host."""

    path: str
    offset: int


class ManifestDocument:
    """A version's manifest as it came over the wire and lies on the disk; its keys are those of `document`."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self.id: str = document["id"]
        self.files: dict[str, Any] = document["files"]
        self.tensors: dict[str, Any] = document["tensors"]

    @property
    def is_signed(self) -> bool:
        return bool(self.document.get("signature"))

    def chunks(self) -> list[PlacedChunk]:
        """Every chunk, in the order of the files."""
        placed: list[PlacedChunk] = []
        for name, entry in self.files.items():
            offset = 0
            for size, digest in entry["chunks"]:
                placed.append(PlacedChunk(len(placed), name, offset, size, digest))
                offset += size
        return placed

    def spans(self) -> dict[str, list[tuple[int, int, str]]]:
        """Offset, size and hash of each chunk, by file; files without chunks too."""
        spans: dict[str, list[tuple[int, int, str]]] = {name: [] for name in self.files}
        for chunk in self.chunks():
            spans[chunk.file].append((chunk.offset, chunk.size, chunk.hash))
        return spans


def quoted(project: str, version: str) -> str:
    """The name of a version among files: both parts as in a URL, `@` between them."""
    return urllib.parse.quote(project, safe="") + "@" + urllib.parse.quote(version, safe="")


def record_path(root: Path, project: str, version: str) -> Path:
    return root / STATE / "published" / (quoted(project, version) + ".json")


def manifest_path(root: Path, manifest: str) -> Path:
    return root / STATE / "manifests" / (manifest + ".json")


def staging_folder(root: Path, project: str, version: str) -> Path:
    return root / STATE / "staging" / quoted(project, version)


def published(root: Path, project: str, version: str) -> PublishedVersion | None:
    """The record of a version; None where it is not published here."""
    return _read_record(record_path(root, project, version))


def _read_record(path: Path) -> PublishedVersion | None:
    stored = json_file.read_object(path)
    try:
        files = {
            name: PublishedFile(entry["size"], entry["sha256"], entry["blake3"], entry["stat"])
            for name, entry in stored["files"].items()
        }
        return PublishedVersion(stored["project"], stored["version"], stored["id"], files)
    except KeyError:
        return None


def all_published(root: Path) -> list[PublishedVersion]:
    """The records of all versions, in the order of their names."""
    records = (_read_record(path) for path in sorted((root / STATE / "published").glob("*.json")))
    return [record for record in records if record is not None]


def manifest_of(root: Path, record: PublishedVersion) -> ManifestDocument | None:
    """The manifest of a published version; None where it is gone: then nothing can be compared with it."""
    document = json_file.read_object(manifest_path(root, record.id))
    return ManifestDocument(document) if {"id", "files", "tensors"} <= document.keys() else None


def published_manifest(root: Path, project: str, version: str) -> ManifestDocument | None:
    """The manifest of a version; None where it is not published here."""
    record = published(root, project, version)
    return manifest_of(root, record) if record is not None else None


def pointed(root: Path, project: str, link: str) -> str | None:
    """The version that `current` or `previous` of a model names."""
    path = root / project / link
    try:
        return os.readlink(path)
    except OSError:  # not there, no link, or replaced this moment
        return None


def file_stat(path: Path) -> list[int]:
    """Size, mtime in ns and permission bits: what a change by hand does not leave alone. Raises OSError."""
    status = path.lstat()
    return [status.st_size, status.st_mtime_ns, status.st_mode & 0o7777]


def _is_as_published(path: Path, published: PublishedFile) -> bool:
    try:
        return path.exists() and file_stat(path) == published.stat
    except FileNotFoundError:  # it went away in between
        return False


def altered(root: Path, record: PublishedVersion) -> list[str]:
    """Files that are gone, other than they were published, or not of the version."""
    folder, files = record.folder(root), record.files
    changed = [name for name in files if not _is_as_published(folder / name, files[name])]
    if folder.is_symlink():
        return sorted(changed)  # a NAS may hold more than the version
    present = {str(path.relative_to(folder)) for path in vanishing.below(folder) if path.is_file() or path.is_symlink()}
    return sorted({*changed, *(present - set(files))})


def held_files(root: Path) -> dict[str, str]:
    """Paths of unaltered published files, by blake3."""
    paths: dict[str, str] = {}
    for record in all_published(root):
        folder, broken = record.folder(root), set(altered(root, record))
        paths.update({entry.blake3: str(folder / name) for name, entry in record.files.items() if name not in broken})
    return paths


def held_chunks(root: Path) -> dict[str, ChunkSource]:
    """Chunks of unaltered published files, by blake3."""
    sources: dict[str, ChunkSource] = {}
    for record in all_published(root):
        folder, broken = record.folder(root), set(altered(root, record))
        manifest = manifest_of(root, record)
        for chunk in manifest.chunks() if manifest is not None else ():
            if chunk.file not in broken:
                sources[chunk.hash] = ChunkSource(str(folder / chunk.file), chunk.offset)
    return sources
