"""The model store on a host: stage beside, verify every byte, publish by rename. Nothing half-written is ever visible.

Layout below the model root:
    PROJECT/VERSION/               the files, read-only, root's; visible only when whole and verified
    PROJECT/current                symlink, replaced by rename
    .steelyard/staging/NAME/       what is being received; NAME is project and version, quoted
    .steelyard/published/NAME.json the manifest and, per file, size and mtime as they were at publication

The stream that `receive` reads: 8 bytes big-endian length, a JSON header {"manifest", "send"}, then the bytes of each
file in `send`, in that order; sizes are in the manifest. Files equal to one that is published are hard-linked.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import struct
import urllib.parse
from pathlib import Path
from typing import Any, BinaryIO

CHUNK = 1 << 20
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


def file_stat(path: Path) -> list[int]:
    """Size, mtime in ns and permission bits: what a change by hand does not leave alone."""
    found = path.lstat()
    return [found.st_size, found.st_mtime_ns, found.st_mode & 0o7777]


def sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        for chunk in iter(lambda: stream.read(CHUNK), b""):
            digest.update(chunk)
    return digest.hexdigest()


def held_hashes(root: Path) -> dict[str, str]:
    """sha256 of every unaltered published file to its path."""
    held = {}
    for record in sorted((root / STATE / "published").glob("*.json")):
        known = read_record(record)
        folder = root / known.get("project", "") / known.get("version", "")
        for name, entry in known.get("manifest", {}).get("files", {}).items():
            path = folder / name
            if path.exists() and file_stat(path) == known["stat"].get(name):
                held[entry["sha256"]] = str(path)
    return held


def state(root: Path, project: str, version: str) -> dict[str, Any]:
    """What is there: manifest id (None: not published), files altered since, current, free bytes, hashes held."""
    folder = root / project / version
    known = read_record(record_path(root, project, version))
    published = known.get("manifest", {}).get("id") if folder.is_dir() else None
    altered = []
    if published is not None:
        wanted = known["manifest"]["files"]
        altered = [n for n in wanted if not (folder / n).exists() or file_stat(folder / n) != known["stat"].get(n)]
        present = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
        altered += sorted(present - set(wanted))
    current = root / project / "current"
    space = shutil.disk_usage(root if root.is_dir() else "/")
    staged = root / STATE / "staging" / quoted(project, version)
    return {
        "published": published,
        "unrecorded": folder.is_dir() and published is None,
        "altered": sorted(altered),
        "current": os.readlink(current) if current.is_symlink() else None,
        "free_bytes": space.free,
        "held": sorted(held_hashes(root)),
        "staged": sorted(p.name for p in staged.rglob("*") if p.is_file()) if staged.is_dir() else [],
    }


def receive(root: Path, project: str, version: str, stream: BinaryIO) -> dict[str, Any]:
    """Read a version, verify it, make it visible. Raises StoreError; a full disk gives all its space back."""
    header = json.loads(_exactly(stream, struct.unpack(">Q", _exactly(stream, 8))[0]))
    manifest, send = header["manifest"], header["send"]
    staged = root / STATE / "staging" / quoted(project, version)
    held = held_hashes(root)
    try:
        for name in send:
            (staged / name).parent.mkdir(parents=True, exist_ok=True)
            _write(stream, staged / name, manifest["files"][name]["size"])
        for name, entry in manifest["files"].items():
            target = staged / name
            if name not in send and entry["sha256"] in held:
                target.parent.mkdir(parents=True, exist_ok=True)
                if target.exists():
                    target.unlink()
                os.link(held[entry["sha256"]], target)
            if not target.exists():
                raise StoreError(f"{project} {version}: file {name} was neither sent nor held; nothing was published")
            found = sha256_of(target)
            if found != entry["sha256"]:
                target.unlink()
                wanted = entry["sha256"][:12]
                raise StoreError(
                    f"{project} {version}: file {name} is corrupted (sha256 {found[:12]}, wanted {wanted}); "
                    "nothing was published, the version that was served stays"
                )
    except OSError as error:
        shutil.rmtree(staged, ignore_errors=True)
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise StoreError(f"{project} {version}: {error}; nothing was published") from error
        needed = sum(entry["size"] for entry in manifest["files"].values())
        raise StoreError(
            f"{project} {version}: the disk is full ({needed} bytes needed below {root}); "
            "nothing was published and the space was given back"
        ) from error
    _publish(root, project, version, manifest, staged)
    return {"published": manifest["id"], "received_bytes": sum(manifest["files"][name]["size"] for name in send)}


def _exactly(stream: BinaryIO, count: int) -> bytes:
    data = stream.read(count)
    if len(data) != count:
        raise StoreError("the link ended early; what was received whole is kept for the next try")
    return data


def _write(stream: BinaryIO, target: Path, size: int) -> None:
    """The next `size` bytes into a file of its own; a short stream leaves no file."""
    part = target.with_name(target.name + ".part")
    with part.open("wb") as out:
        left = size
        while left:
            chunk = stream.read(min(CHUNK, left))
            if not chunk:
                break
            out.write(chunk)
            left -= len(chunk)
        out.flush()
        os.fsync(out.fileno())
    if left:
        part.unlink()
        raise StoreError(f"the link ended early in {target.name}; what was received whole is kept for the next try")
    os.replace(part, target)


def _publish(root: Path, project: str, version: str, manifest: dict[str, Any], staged: Path) -> None:
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
    stat = {name: file_stat(target / name) for name in manifest["files"]}
    record = record_path(root, project, version)
    record.parent.mkdir(parents=True, exist_ok=True)
    written = record.with_suffix(".new")
    written.write_text(json.dumps({"project": project, "version": version, "manifest": manifest, "stat": stat}))
    os.replace(written, record)


def _replace_files(staged: Path, target: Path, manifest: dict[str, Any]) -> None:
    """Repair a published version: each file by rename, so that nobody sees half a file; extra files go."""
    for name in manifest["files"]:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(staged / name, target / name)
    for path in sorted(target.rglob("*")):
        if path.is_file() and str(path.relative_to(target)) not in manifest["files"]:
            path.unlink()
