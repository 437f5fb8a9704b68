"""A release's archive: fetched once, checked by hash, and read for the files of its `docker/` folder. Nothing is
unpacked here.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
import urllib.error
import urllib.request
from functools import lru_cache
from pathlib import Path, PurePosixPath

from steelyard.dirs import cache_folder, write_private
from steelyard.errors import DifyArchiveWrong

FOLDER, COMPOSE, TEMPLATE = "docker", "docker-compose.yaml", ".env.example"
TIMEOUT_S = 300


@lru_cache
def release_files(archive: str, sha256: str) -> dict[str, bytes]:
    """Path below `docker/` to content. Raises DifyArchiveWrong: not there, another hash, no archive of Dify."""
    content = _content(archive, sha256)
    files: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:*") as packed:
            for member in packed:
                parts = PurePosixPath(member.name).parts
                if FOLDER not in parts[:2] or not member.isfile():
                    continue
                inside = PurePosixPath(*parts[parts.index(FOLDER) + 1 :])
                if ".." in inside.parts:
                    raise DifyArchiveWrong(where="dify.release.archive", archive=archive, why=f"names `{member.name}`")
                file = packed.extractfile(member)
                files[str(inside)] = file.read() if file else b""
    except (tarfile.TarError, EOFError, OSError) as error:
        raise DifyArchiveWrong(where="dify.release.archive", archive=archive, why="is no tar archive") from error
    for name in (COMPOSE, TEMPLATE):
        if name not in files:
            why = f"has no {FOLDER}/{name}; it is not Dify's source archive"
            raise DifyArchiveWrong(where="dify.release.archive", archive=archive, why=why)
    return files


def _content(archive: str, sha256: str) -> bytes:
    cached = cache_folder() / "dify" / f"{sha256}.tar"
    remote = archive.startswith(("http://", "https://"))
    try:
        if remote and cached.exists():
            content = cached.read_bytes()
        elif remote:
            with urllib.request.urlopen(archive, timeout=TIMEOUT_S) as answer:
                content = answer.read()
        else:
            content = Path(archive).expanduser().read_bytes()
    except (OSError, urllib.error.URLError, ValueError) as error:
        why = f"cannot be had: {getattr(error, 'reason', None) or getattr(error, 'strerror', None) or error}"
        raise DifyArchiveWrong(where="dify.release.archive", archive=archive, why=why) from error
    actual = hashlib.sha256(content).hexdigest()
    if actual != sha256:
        raise DifyArchiveWrong(where="dify.release.archive", archive=archive, why=f"has another hash: sha256 {actual}")
    if remote and not cached.exists():
        write_private(cached, content)
    return content
