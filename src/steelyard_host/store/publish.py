"""Versions of a host's model store: staged beside, published by rename. Nothing half-written is ever visible."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from steelyard_host.errors import HelperError
from steelyard_host.store import layout
from steelyard_host.store.layout import ManifestDocument, PublishedFile, PublishedVersion
from steelyard_host.system import json_file, vanishing
from steelyard_host.wire.store import LinkedVersions, VersionState


def state(root: Path, project: str, version: str) -> VersionState:
    """The state of one version in the store, and what of its bytes the host has already."""
    folder = root / project / version
    record = layout.published(root, project, version) if folder.is_dir() else None
    space = shutil.disk_usage(root if root.is_dir() else "/")
    staged = layout.staging_folder(root, project, version)
    return VersionState(
        published=record.id if record is not None else None,
        unrecorded=folder.is_dir() and record is None,
        altered=tuple(_altered_or_unknown(root, record)) if record is not None else (),
        current=layout.pointed(root, project, "current"),
        previous=layout.pointed(root, project, "previous"),
        free_bytes=space.free,
        held=tuple(sorted(layout.held_files(root))),
        staged_bytes=sum(status.st_blocks * 512 for _, status in vanishing.files(staged)),
    )


def _altered_or_unknown(root: Path, record: PublishedVersion) -> list[str]:
    known = layout.manifest_path(root, record.id).exists()
    return [*layout.altered(root, record), *([] if known else [layout.MANIFEST])]


def send(root: Path, project: str, version: str, out: BinaryIO) -> int:
    """Writes the bytes of a published version's files, in the manifest's order. Raises HelperError."""
    manifest = layout.published_manifest(root, project, version)
    if manifest is None:
        raise HelperError("%s %s is not published here" % (project, version))
    for name in manifest.files:
        try:
            with (root / project / version / name).open("rb") as stream:
                shutil.copyfileobj(stream, out, 1 << 20)
        except OSError as error:
            raise HelperError("%s: %s" % (name, error.strerror)) from error
    out.flush()
    return 0


def switch(root: Path, project: str, version: str) -> LinkedVersions:
    """Has `current` name the version, `previous` the one before, where that is here; each replaced by rename.

    Raises HelperError.
    """
    if not (root / project / version).is_dir():
        raise HelperError("%s %s is not published here; `current` stays" % (project, version))
    before = layout.pointed(root, project, "current")
    try:
        if before is not None and before != version and (root / project / before).is_dir():
            replace_link(root / project / "previous", before)
        replace_link(root / project / "current", version)
        json_file.sync_folder(root / project)
    except OSError as error:
        raise HelperError(
            "%s: %s; `current` is %s" % (root / project, error.strerror, before or "not there")
        ) from error
    return LinkedVersions(version, layout.pointed(root, project, "previous"))


def replace_link(link: Path, target: str) -> None:
    """A symlink that names `target`, put in place by rename. Raises OSError."""
    new = link.with_name("." + link.name + ".new")
    new.unlink(missing_ok=True)
    new.symlink_to(target)
    os.replace(new, link)


@contextmanager
def receiving(root: Path, project: str, version: str) -> Iterator[Path]:
    """The staging folder of a version, for one process at a time. Raises HelperError."""
    staged = layout.staging_folder(root, project, version)
    try:
        staged.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(str(staged) + ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise HelperError("%s: %s; nothing was published" % (staged, error.strerror)) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise HelperError("%s %s is being received here already; wait for that push" % (project, version)) from None
    try:
        yield staged
    finally:
        os.close(lock)


def require_safe_names(manifest: ManifestDocument) -> None:
    """Refuses, with HelperError, a name that would leave the version's folder."""
    for name in manifest.files:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or not path.parts or str(path) != name:
            raise HelperError("the name %r leaves the version's folder; nothing was written" % name)


def publish(root: Path, project: str, version: str, manifest: ManifestDocument, staged: Path) -> Path:
    """Read-only modes, then one rename; the record is written last, so a crash before it publishes again."""
    for extra in sorted(staged.rglob("*"), reverse=True):
        if extra.is_file() and str(extra.relative_to(staged)) not in manifest.files:
            extra.unlink()
        elif extra.is_file():
            extra.chmod(0o444)
        elif not any(extra.iterdir()):
            extra.rmdir()
    for folder in [staged, *(path for path in staged.rglob("*") if path.is_dir())]:
        folder.chmod(0o755)
    target = root / project / version
    target.parent.mkdir(parents=True, exist_ok=True)
    for parent in [target.parent, *target.parent.parents]:
        if parent == root:
            break
        parent.chmod(0o755)
    if target.exists():
        _replace_files(staged, target, manifest)
    else:
        os.rename(staged, target)
    shutil.rmtree(staged, ignore_errors=True)
    json_file.sync_folder(target.parent)
    record(root, project, version, manifest)
    return target


def record(root: Path, project: str, version: str, manifest: ManifestDocument) -> None:
    """Writes down that a version is published, with what its files look like now; the record last."""
    folder = root / project / version
    files = {
        name: PublishedFile(entry["size"], entry["sha256"], entry["blake3"], layout.file_stat(folder / name))._asdict()
        for name, entry in manifest.files.items()
    }
    json_file.write_atomically(layout.manifest_path(root, manifest.id), manifest.document)
    json_file.write_atomically(
        layout.record_path(root, project, version),
        {"project": project, "version": version, "id": manifest.id, "files": files},
    )


def _replace_files(staged: Path, target: Path, manifest: ManifestDocument) -> None:
    """Repairs a published version: each file by rename, so that nobody sees half a file; extra files go."""
    for name in manifest.files:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(staged / name, target / name)
    for path in sorted(target.rglob("*")):
        if path.is_file() and str(path.relative_to(target)) not in manifest.files:
            path.unlink()
