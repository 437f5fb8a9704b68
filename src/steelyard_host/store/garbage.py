"""Garbage collection of a host's store: what it holds, who uses it, and what is removed from it."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from pathlib import Path

from steelyard_host.store import leases
from steelyard_host.store.layout import (
    STATE,
    PublishedVersion,
    all_published,
    altered,
    manifest_of,
    pointed,
    quoted,
    record_path,
    staging_folder,
)
from steelyard_host.system import vanishing
from steelyard_host.wire.store import Gone, Stays, StoredVersion, StoreListing

STALE_S = 24 * 3600  # since anything came for a version that is half received
# device and inode -> processes that have the file mapped or open, and by which path
UsedFiles = dict[tuple[int, int], list[tuple[str, str]]]
BoundFolders = list[tuple[str, str]]  # a folder that a process has bound, from its file system's root; the process


def inventory(root: Path) -> StoreListing:
    """Every published version with its size, what it alone takes, whether it is current, and who uses or keeps it."""
    files, bound = users()
    return StoreListing(
        versions=tuple(_stored(root, record, files, bound) for record in all_published(root)),
        staging=tuple(_staged(root)),
        free_bytes=shutil.disk_usage(root if root.is_dir() else "/").free,
    )


def _stored(root: Path, record: PublishedVersion, files: UsedFiles, bound: BoundFolders) -> StoredVersion:
    project, version, folder = record.project, record.version, record.folder(root)
    stats = [status for _, status in vanishing.files(folder)]
    own_bytes = sum(stat.st_blocks * 512 for stat in stats if stat.st_nlink == 1)
    manifest = manifest_of(root, record)
    return StoredVersion(
        project=project,
        version=version,
        id=record.id,
        bytes=sum(entry.size for entry in record.files.values()),
        own_bytes=0 if folder.is_symlink() else own_bytes,
        published=next((s.st_mtime for _, s in vanishing.stats([record_path(root, project, version)])), 0.0),
        altered=tuple(altered(root, record)) if folder.is_dir() else ("the folder",),
        current=pointed(root, project, "current") == version,
        previous=pointed(root, project, "previous") == version,
        in_use=_user(folder, files, bound),
        leases=leases.of(root, project, version),
        shared=os.readlink(folder) if folder.is_symlink() else None,
        signed=manifest is not None and manifest.is_signed,
    )


def _staged(root: Path) -> list[str]:
    return [path.name for path in sorted((root / STATE / "staging").glob("*")) if path.is_dir()]


def users() -> tuple[UsedFiles, BoundFolders]:
    """Every file that a process of this host has mapped or open, and every folder that one has bound."""
    files: UsedFiles = {}
    bound: BoundFolders = []
    seen: set[str] = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            name = "%s (pid %s)" % ((process / "comm").read_text().strip(), process.name)
            for line in (process / "maps").read_text(errors="replace").splitlines():
                fields = line.split(None, 5)
                if len(fields) == 6 and fields[4] != "0":
                    major, minor = fields[3].split(":")
                    inode = (os.makedev(int(major, 16), int(minor, 16)), int(fields[4]))
                    files.setdefault(inode, []).append((name, fields[5]))
            for handle in (process / "fd").iterdir():
                try:
                    stat, where = handle.stat(), os.readlink(handle)
                except OSError:
                    continue  # closed meanwhile, as the one that this very loop reads with
                files.setdefault((stat.st_dev, stat.st_ino), []).append((name, where))
            namespace = os.readlink(process / "ns" / "mnt")
            if namespace not in seen:
                seen.add(namespace)
                lines = (process / "mountinfo").read_text(errors="replace").splitlines()
                bound += [(line.split()[3], name) for line in lines]
        except OSError:
            continue  # it ended meanwhile
    return files, bound


def _user(folder: Path, files: UsedFiles, bound: BoundFolders) -> str | None:
    """Who uses a version: has a file of its own mapped or open, or its folder bound (BindReadOnlyPaths).

    A file that other versions have too is one inode: whoever uses it may be their user, and loses nothing.
    """
    for _, stat in vanishing.stats(vanishing.below(folder)):
        for name, where in files.get((stat.st_dev, stat.st_ino), ()):
            if stat.st_nlink == 1 or where.startswith("%s/" % folder):
                return name
    # a bound folder is named from the root of its file system, which may lie anywhere above
    return next((name for place, name in bound if place != "/" and str(folder.resolve()).endswith(place)), None)


def remove(root: Path, names: list[str], undeclared: bool = False) -> Stays:
    """Removes versions (PROJECT@VERSION); those that are current, in use or leased stay, and a sentence says so.

    `undeclared`: their projects are declared no more, so one that is current goes too, and with a project's last
    version its folder.

    The folder goes out of sight by one rename first: nobody sees half a version. Mapped files live on until unmapped.
    """
    stays = []
    known = {"%s@%s" % (entry.project, entry.version): entry for entry in inventory(root).versions}
    for name in names:
        entry = known.get(name)
        if entry is None:
            stays.append("%s is not published here" % name)
        elif (reason := _reason_to_stay(entry, undeclared)) is not None:
            stays.append("%s is %s" % (name, reason))
        else:
            _remove_version(root, entry.project, entry.version)
    used = {record.id for record in all_published(root)}
    for path in (root / STATE / "manifests").glob("*.json"):
        if path.stem not in used:
            path.unlink()
    return Stays(tuple(stays))


def _reason_to_stay(entry: StoredVersion, undeclared: bool) -> str | None:
    if entry.current and not undeclared:
        return "current"
    if entry.in_use:
        return "in use by " + entry.in_use
    return "kept by " + ", ".join(lease.who for lease in entry.leases) if entry.leases else None


def _remove_version(root: Path, project: str, version: str) -> None:
    tombstone, folder = root / STATE / "removed" / quoted(project, version), root / project / version
    tombstone.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(tombstone, ignore_errors=True)
    if folder.is_symlink():
        folder.unlink()  # what lies on a NAS is not ours
    else:
        os.rename(folder, tombstone)
    record_path(root, project, version).unlink()
    staging = staging_folder(root, project, version)
    if not staging.exists() and not _is_received(staging):
        staging.with_name(staging.name + ".lock").unlink(missing_ok=True)
    for link in ("current", "previous"):
        if pointed(root, project, link) == version:
            (root / project / link).unlink()
    _remove_empty(root, root / project)
    shutil.rmtree(tombstone, ignore_errors=True)


def _remove_empty(root: Path, folder: Path) -> None:
    """The folder of a project without versions goes, and those above it that nothing else is in."""
    while folder != root and root in folder.parents:
        try:
            folder.rmdir()
        except OSError:
            return
        folder = folder.parent


def remove_stale_staging(root: Path, now: float | None = None) -> Gone:
    """Removes what was half received a day ago and more, and what a removal that was cut off left.

    The answer names the former. `now`: seconds since 1970.
    """
    now = time.time() if now is None else now
    gone = []
    for name in _staged(root):
        folder = root / STATE / "staging" / name
        present = vanishing.stats([folder, *vanishing.below(folder)])
        newest = max((status.st_mtime for _, status in present), default=now)
        if now - newest > STALE_S and not _is_received(folder):
            shutil.rmtree(folder, ignore_errors=True)
            gone.append(name)
    shutil.rmtree(root / STATE / "removed", ignore_errors=True)
    return Gone(tuple(gone))


def _is_received(folder: Path) -> bool:
    try:
        with folder.with_name(folder.name + ".lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False
