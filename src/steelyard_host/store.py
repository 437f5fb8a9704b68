"""The model store on a host: stage beside, verify every byte, publish by rename. Nothing half-written is ever visible.

Layout below the model root:
    PROJECT/VERSION/               the files, read-only, root's; visible only when whole and verified
    PROJECT/current                symlink, replaced by rename
    .steelyard/staging/NAME/       what is being received; NAME is project and version, quoted
    PROJECT/previous               symlink to what `current` named before
    .steelyard/staging/NAME.lock   flock'd by whoever receives it
    .steelyard/published/NAME.json id of the manifest and, per file, hashes and size, mtime, mode at publication
    .steelyard/manifests/ID.json   the manifest, with every chunk's hash
    .steelyard/leases/NAME/WHO     keeps a version from being removed, until a time; see leases.py
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from steelyard_host.chunks import Held, chunks_of, copied
from steelyard_host.hashing import content_id, wrong_chunks

STATE = ".steelyard"
MANIFEST = "its manifest"  # among files that are not as they were published


class StoreError(Exception):
    """One sentence for the operator; nothing of the version is visible when it is raised."""


def quoted(project: str, version: str) -> str:
    return urllib.parse.quote(project, safe="") + "@" + urllib.parse.quote(version, safe="")


def record_path(root: Path, project: str, version: str) -> Path:
    return root / STATE / "published" / (quoted(project, version) + ".json")


def read_record(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
        return found if isinstance(found, dict) else {}
    except (OSError, ValueError):
        return {}


def records(root: Path) -> list[dict[str, Any]]:
    """Of every published version, in the order of their names."""
    found = [read_record(path) for path in sorted((root / STATE / "published").glob("*.json"))]
    return [record for record in found if {"project", "version", "id", "files"} <= record.keys()]


def manifest_of(root: Path, record: dict[str, Any]) -> dict[str, Any]:
    """Empty where it is gone: then nothing can be compared with it."""
    return read_record(_manifest_path(root, record["id"]))


def _manifest_path(root: Path, manifest: str) -> Path:
    return root / STATE / "manifests" / (manifest + ".json")


def shown(root: Path, project: str, version: str) -> dict[str, Any]:
    """The manifest of a published version; empty where it is not published here."""
    record = read_record(record_path(root, project, version))
    return manifest_of(root, record) if record else {}


def send(root: Path, project: str, version: str, out: BinaryIO) -> int:
    """The bytes of a published version's files, in the manifest's order. Raises StoreError."""
    manifest = shown(root, project, version)
    if not manifest:
        raise StoreError("%s %s is not published here" % (project, version))
    for name in manifest["files"]:
        try:
            with (root / project / version / name).open("rb") as stream:
                shutil.copyfileobj(stream, out, 1 << 20)
        except OSError as error:
            raise StoreError("%s: %s" % (name, error.strerror)) from error
    out.flush()
    return 0


def file_stat(path: Path) -> list[int]:
    """Size, mtime in ns and permission bits: what a change by hand does not leave alone."""
    found = path.lstat()
    return [found.st_size, found.st_mtime_ns, found.st_mode & 0o7777]


def altered(root: Path, record: dict[str, Any]) -> list[str]:
    """Files that are gone, other than they were published, or not of the version."""
    folder, files = root / record["project"] / record["version"], record["files"]
    changed = [name for name in files if not (folder / name).exists() or file_stat(folder / name) != files[name]["stat"]]
    if folder.is_symlink():
        return sorted(changed)  # a NAS may hold more than the version
    present = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() or path.is_symlink()}
    return sorted({*changed, *(present - set(files))})


def _altered_or_unknown(root: Path, record: dict[str, Any]) -> list[str]:
    return [*altered(root, record), *([] if _manifest_path(root, record["id"]).exists() else [MANIFEST])]


def held_files(root: Path) -> dict[str, str]:
    """Unaltered published files, by blake3."""
    found: dict[str, str] = {}
    for record in records(root):
        folder, broken = root / record["project"] / record["version"], set(altered(root, record))
        found.update({entry["blake3"]: str(folder / name) for name, entry in record["files"].items() if name not in broken})
    return found


def held_chunks(root: Path) -> dict[str, Held]:
    """Chunks of unaltered published files, by blake3."""
    found: dict[str, Held] = {}
    for record in records(root):
        folder, broken = root / record["project"] / record["version"], set(altered(root, record))
        manifest = manifest_of(root, record)
        for chunk in chunks_of(manifest) if manifest else ():
            if chunk.file not in broken:
                found[chunk.hash] = Held(str(folder / chunk.file), chunk.offset)
    return found


def state(root: Path, project: str, version: str) -> dict[str, Any]:
    """What is there: manifest id (None: not published), files altered since, current, free bytes, whole files held."""
    folder = root / project / version
    record = read_record(record_path(root, project, version))
    published = record.get("id") if folder.is_dir() else None
    space = shutil.disk_usage(root if root.is_dir() else "/")
    staged = root / STATE / "staging" / quoted(project, version)
    return {
        "published": published,
        "unrecorded": folder.is_dir() and published is None,
        "altered": _altered_or_unknown(root, record) if published is not None else [],
        "current": pointed(root, project, "current"),
        "previous": pointed(root, project, "previous"),
        "free_bytes": space.free,
        "held": sorted(held_files(root)),
        "staged_bytes": sum(path.stat().st_blocks * 512 for path in staged.rglob("*") if path.is_file()),
    }


def pointed(root: Path, project: str, link: str) -> str | None:
    """The version that `current` or `previous` of a model names."""
    path = root / project / link
    return os.readlink(path) if path.is_symlink() else None


def switch(root: Path, project: str, version: str) -> dict[str, Any]:
    """`current` names the version, `previous` the one before; each replaced by rename. Raises StoreError."""
    if not (root / project / version).is_dir():
        raise StoreError("%s %s is not published here; `current` stays" % (project, version))
    before = pointed(root, project, "current")
    try:
        if before not in (None, version):
            _point(root / project / "previous", str(before))
        _point(root / project / "current", version)
        _synced(root / project)
    except OSError as error:
        raise StoreError("%s: %s; `current` is %s" % (root / project, error.strerror, before or "not there")) from error
    return {"current": version, "previous": pointed(root, project, "previous")}


def _point(link: Path, version: str) -> None:
    new = link.with_name("." + link.name + ".new")
    new.unlink(missing_ok=True)
    new.symlink_to(version)
    os.replace(new, link)


@contextmanager
def receiving(root: Path, project: str, version: str) -> Iterator[Path]:
    """The staging folder of a version, for one process at a time. Raises StoreError."""
    staged = root / STATE / "staging" / quoted(project, version)
    try:
        staged.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(str(staged) + ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreError("%s: %s; nothing was published" % (staged, error.strerror)) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise StoreError("%s %s is being received here already; wait for that push" % (project, version)) from None
    try:
        yield staged
    finally:
        os.close(lock)


def checked(manifest: dict[str, Any]) -> None:
    """Raises StoreError for a name that would leave the version's folder."""
    for name in manifest["files"]:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or not path.parts or str(path) != name:
            raise StoreError("the name %r leaves the version's folder; nothing was written" % name)


def publish(root: Path, project: str, version: str, manifest: dict[str, Any], staged: Path) -> Path:
    """Read-only modes, then one rename; the record is written last, so a crash before it publishes again."""
    for extra in sorted(staged.rglob("*"), reverse=True):
        if extra.is_file() and str(extra.relative_to(staged)) not in manifest["files"]:
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
    _synced(target.parent)
    record(root, project, version, manifest)
    return target


def record(root: Path, project: str, version: str, manifest: dict[str, Any]) -> None:
    """Write down that a version is published, with what its files look like now; the record last."""
    folder = root / project / version
    files = {
        name: {"size": entry["size"], "sha256": entry["sha256"], "blake3": entry["blake3"], "stat": file_stat(folder / name)}
        for name, entry in manifest["files"].items()
    }
    _write(_manifest_path(root, manifest["id"]), manifest)
    _write(record_path(root, project, version), {"project": project, "version": version, "id": manifest["id"], "files": files})


def _write(path: Path, document: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    written = path.with_suffix(".new")
    with written.open("w") as out:
        json.dump(document, out)
        out.flush()
        os.fsync(out.fileno())
    os.replace(written, path)


def _synced(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)


def _replace_files(staged: Path, target: Path, manifest: dict[str, Any]) -> None:
    """Repair a published version: each file by rename, so that nobody sees half a file; extra files go."""
    for name in manifest["files"]:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(staged / name, target / name)
    for path in sorted(target.rglob("*")):
        if path.is_file() and str(path.relative_to(target)) not in manifest["files"]:
            path.unlink()


def verify(root: Path, project: str, version: str, quarantine: bool) -> dict[str, Any]:
    """Read every byte; per file the chunks that are not what was published. With `quarantine` such files go out of sight.

    `id` is None where nothing is published. A manifest that is not the one of then is named as a file, and nothing else can be.
    """
    record = read_record(record_path(root, project, version))
    if not record or not (root / project / version).is_dir():
        return {"id": None, "bytes": 0, "wrong": {}, "extra": []}
    manifest = manifest_of(root, record)
    if not manifest or content_id(manifest) != record["id"]:
        if quarantine:
            _manifest_path(root, record["id"]).unlink(missing_ok=True)
        return {"id": record["id"], "bytes": 0, "wrong": {MANIFEST: [0]}, "extra": []}
    folder = root / project / version
    spans: dict[str, list[tuple[int, int, str]]] = {name: [] for name in manifest["files"]}
    for chunk in chunks_of(manifest):
        spans[chunk.file].append((chunk.offset, chunk.size, chunk.hash))
    wrong = {name: wrong_chunks(folder / name, spans[name]) for name in spans}
    extra = [name for name in altered(root, record) if name not in manifest["files"]]
    if quarantine and any(wrong.values()):
        if folder.is_symlink():
            raise StoreError("%s %s lies on %s, which is not ours to mend" % (project, version, os.readlink(folder)))
        _quarantine(root, project, version, [name for name in wrong if wrong[name]])
    size = sum(entry["size"] for entry in manifest["files"].values())
    return {"id": manifest["id"], "bytes": size, "wrong": {name: bad for name, bad in wrong.items() if bad}, "extra": extra}


def _quarantine(root: Path, project: str, version: str, names: list[str]) -> None:
    """A copy in staging, where the next push finds the good chunks of it; no engine that starts can read the bad ones."""
    for name in names:
        path = root / project / version / name
        if path.exists():
            staged = root / STATE / "staging" / quoted(project, version) / name
            staged.parent.mkdir(parents=True, exist_ok=True)
            staged.unlink(missing_ok=True)
            copied(path, staged)
            path.unlink()
