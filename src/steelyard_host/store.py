"""The model store on a host: stage beside, verify every byte, publish by rename. Nothing half-written is ever visible.

Layout below the model root:
    PROJECT/VERSION/               the files, read-only, root's; visible only when whole and verified
    PROJECT/current                symlink, replaced by rename
    .steelyard/staging/NAME/       what is being received; NAME is project and version, quoted
    .steelyard/staging/NAME.lock   flock'd by whoever receives it
    .steelyard/published/NAME.json id of the manifest and, per file, hashes and size, mtime, mode at publication
    .steelyard/manifests/ID.json   the manifest, with every chunk's hash
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
from typing import Any

from steelyard_host.chunks import Held, chunks_of
from steelyard_host.hashing import wrong_chunks

STATE = ".steelyard"


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
    return read_record(root / STATE / "manifests" / (record["id"] + ".json"))


def file_stat(path: Path) -> list[int]:
    """Size, mtime in ns and permission bits: what a change by hand does not leave alone."""
    found = path.lstat()
    return [found.st_size, found.st_mtime_ns, found.st_mode & 0o7777]


def altered(root: Path, record: dict[str, Any]) -> list[str]:
    """Files that are gone, other than they were published, or not of the version."""
    folder, files = root / record["project"] / record["version"], record["files"]
    changed = [name for name in files if not (folder / name).exists() or file_stat(folder / name) != files[name]["stat"]]
    present = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() or path.is_symlink()}
    return sorted({*changed, *(present - set(files))})


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
    current = root / project / "current"
    space = shutil.disk_usage(root if root.is_dir() else "/")
    staged = root / STATE / "staging" / quoted(project, version)
    return {
        "published": published,
        "unrecorded": folder.is_dir() and published is None,
        "altered": altered(root, record) if published is not None else [],
        "current": os.readlink(current) if current.is_symlink() else None,
        "free_bytes": space.free,
        "held": sorted(held_files(root)),
        "staged_bytes": sum(path.stat().st_blocks * 512 for path in staged.rglob("*") if path.is_file()),
    }


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
    files = {
        name: {"size": entry["size"], "sha256": entry["sha256"], "blake3": entry["blake3"], "stat": file_stat(target / name)}
        for name, entry in manifest["files"].items()
    }
    _write(root / STATE / "manifests" / (manifest["id"] + ".json"), manifest)
    _write(record_path(root, project, version), {"project": project, "version": version, "id": manifest["id"], "files": files})
    return target


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


def listing(root: Path) -> dict[str, Any]:
    """Every published version with its size, what it alone takes, whether it is current, and who has it mapped."""
    files, bound = users()
    found = []
    for record in records(root):
        folder = root / record["project"] / record["version"]
        stats = [path.stat() for path in folder.rglob("*") if path.is_file()]
        found.append(
            {
                "project": record["project"],
                "version": record["version"],
                "id": record["id"],
                "bytes": sum(entry["size"] for entry in record["files"].values()),
                "own_bytes": sum(stat.st_blocks * 512 for stat in stats if stat.st_nlink == 1),
                "published": record_path(root, record["project"], record["version"]).stat().st_mtime,
                "altered": altered(root, record) if folder.is_dir() else ["the folder"],
                "current": _current(root, record["project"]) == record["version"],
                "in_use": _user(folder, files, bound),
            }
        )
    staged = root / STATE / "staging"
    left = [path.name for path in sorted(staged.glob("*")) if path.is_dir()]
    return {"versions": found, "staging": left, "free_bytes": shutil.disk_usage(root if root.is_dir() else "/").free}


def _current(root: Path, project: str) -> str | None:
    link = root / project / "current"
    return os.readlink(link) if link.is_symlink() else None


def users() -> tuple[dict[tuple[int, int], str], list[tuple[str, str]]]:
    """Device and inode of every file that a process has mapped or open -> process; (folder, process) of bound folders."""
    files: dict[tuple[int, int], str] = {}
    bound: list[tuple[str, str]] = []
    seen: set[str] = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            name = "%s (pid %s)" % ((process / "comm").read_text().strip(), process.name)
            for line in (process / "maps").read_text(errors="replace").splitlines():
                fields = line.split(None, 5)
                if len(fields) == 6 and fields[4] != "0":
                    major, minor = fields[3].split(":")
                    files[os.makedev(int(major, 16), int(minor, 16)), int(fields[4])] = name
            for handle in (process / "fd").iterdir():
                try:
                    stat = handle.stat()
                except OSError:
                    continue  # closed meanwhile, as the one that this very loop reads with
                files[stat.st_dev, stat.st_ino] = name
            namespace = os.readlink(process / "ns" / "mnt")
            if namespace not in seen:
                seen.add(namespace)
                lines = (process / "mountinfo").read_text(errors="replace").splitlines()
                bound += [(line.split()[3], name) for line in lines]
        except OSError:
            continue  # it ended meanwhile
    return files, bound


def _user(folder: Path, files: dict[tuple[int, int], str], bound: list[tuple[str, str]]) -> str | None:
    """Who uses a version: has a file of its own mapped or open, or its folder bound (BindReadOnlyPaths)."""
    for path in folder.rglob("*"):
        stat = path.stat()
        if (stat.st_dev, stat.st_ino) in files:
            return files[stat.st_dev, stat.st_ino]
    # a bound folder is named from the root of its file system, which may lie anywhere above
    return next((name for place, name in bound if place != "/" and str(folder).endswith(place)), None)


def verify(root: Path, project: str, version: str, quarantine: bool) -> dict[str, Any]:
    """Read every byte; per file the chunks that are not what was published. With `quarantine` such files go out of sight."""
    record = read_record(record_path(root, project, version))
    manifest = manifest_of(root, record) if record else {}
    if not manifest:
        raise StoreError("%s %s is not published here" % (project, version))
    folder = root / project / version
    spans: dict[str, list[tuple[int, int, str]]] = {name: [] for name in manifest["files"]}
    for chunk in chunks_of(manifest):
        spans[chunk.file].append((chunk.offset, chunk.size, chunk.hash))
    wrong = {name: wrong_chunks(folder / name, spans[name]) for name in spans}
    extra = [name for name in altered(root, record) if name not in manifest["files"]]
    if quarantine:
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
            shutil.copyfile(path, staged)
            path.unlink()


def forget(root: Path, wanted: list[str]) -> list[str]:
    """Remove versions (PROJECT@VERSION); those that are current or in use stay. Sentences about what stayed.

    The folder goes out of sight by one rename first: nobody sees half a version. Mapped files live on until unmapped.
    """
    stays = []
    known = {"%s@%s" % (entry["project"], entry["version"]): entry for entry in listing(root)["versions"]}
    for word in wanted:
        entry = known.get(word)
        if entry is None:
            stays.append("%s is not published here" % word)
        elif entry["current"] or entry["in_use"]:
            stays.append("%s is %s" % (word, "current" if entry["current"] else "in use by " + entry["in_use"]))
        else:
            grave = root / STATE / "removed" / quoted(entry["project"], entry["version"])
            grave.parent.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(grave, ignore_errors=True)
            os.rename(root / entry["project"] / entry["version"], grave)
            record_path(root, entry["project"], entry["version"]).unlink()
            shutil.rmtree(grave)
    used = {record["id"] for record in records(root)}
    for path in (root / STATE / "manifests").glob("*.json"):
        if path.stem not in used:
            path.unlink()
    return stays
