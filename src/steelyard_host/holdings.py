"""What a host's store holds, who uses it, and what is removed from it."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from pathlib import Path
from typing import Any

from steelyard_host import leases
from steelyard_host.store import STATE, altered, manifest_of, pointed, quoted, record_path, records

ABANDONED_S = 24 * 3600  # since anything came for a version that is half received


def listing(root: Path) -> dict[str, Any]:
    """Every published version with its size, what it alone takes, whether it is current, and who uses or keeps it."""
    files, bound = users()
    found = []
    for record in records(root):
        project, version = record["project"], record["version"]
        folder = root / project / version
        stats = [path.stat() for path in folder.rglob("*") if path.is_file()]
        found.append(
            {
                "project": project,
                "version": version,
                "id": record["id"],
                "bytes": sum(entry["size"] for entry in record["files"].values()),
                "own_bytes": 0 if folder.is_symlink() else sum(stat.st_blocks * 512 for stat in stats if stat.st_nlink == 1),
                "published": record_path(root, project, version).stat().st_mtime,
                "altered": altered(root, record) if folder.is_dir() else ["the folder"],
                "current": pointed(root, project, "current") == version,
                "previous": pointed(root, project, "previous") == version,
                "in_use": _user(folder, files, bound),
                "leases": leases.of(root, project, version),
                "shared": os.readlink(folder) if folder.is_symlink() else None,
                "signed": bool(manifest_of(root, record).get("signature")),
            }
        )
    return {"versions": found, "staging": _staged(root), "free_bytes": shutil.disk_usage(root if root.is_dir() else "/").free}


def _staged(root: Path) -> list[str]:
    return [path.name for path in sorted((root / STATE / "staging").glob("*")) if path.is_dir()]


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
    return next((name for place, name in bound if place != "/" and str(folder.resolve()).endswith(place)), None)


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
        elif (why := _stays(entry)) is not None:
            stays.append("%s is %s" % (word, why))
        else:
            _bury(root, entry["project"], entry["version"])
    used = {record["id"] for record in records(root)}
    for path in (root / STATE / "manifests").glob("*.json"):
        if path.stem not in used:
            path.unlink()
    return stays


def _stays(entry: dict[str, Any]) -> str | None:
    if entry["current"]:
        return "current"
    if entry["in_use"]:
        return "in use by " + str(entry["in_use"])
    return "kept by " + ", ".join(lease["who"] for lease in entry["leases"]) if entry["leases"] else None


def _bury(root: Path, project: str, version: str) -> None:
    grave, folder = root / STATE / "removed" / quoted(project, version), root / project / version
    grave.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(grave, ignore_errors=True)
    if folder.is_symlink():
        folder.unlink()  # what lies on a NAS is not ours
    else:
        os.rename(folder, grave)
    record_path(root, project, version).unlink()
    if pointed(root, project, "previous") == version:
        (root / project / "previous").unlink()
    shutil.rmtree(grave, ignore_errors=True)


def abandoned(root: Path, now: float | None = None) -> list[str]:
    """Remove what was half received a day ago and more, and what a removal that was cut off left. Names of the former."""
    now = time.time() if now is None else now
    gone = []
    for name in _staged(root):
        folder = root / STATE / "staging" / name
        newest = max(path.stat().st_mtime for path in [folder, *folder.rglob("*")])
        if now - newest > ABANDONED_S and not _received_now(folder):
            shutil.rmtree(folder, ignore_errors=True)
            gone.append(name)
    shutil.rmtree(root / STATE / "removed", ignore_errors=True)
    return gone


def _received_now(folder: Path) -> bool:
    try:
        with folder.with_name(folder.name + ".lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False
