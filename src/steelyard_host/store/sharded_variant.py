"""Versions that come into being on a host, not at a source: what an engine compiled, or a version sharded for its
ranks.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from steelyard_host.engine import load_bench
from steelyard_host.errors import HelperError
from steelyard_host.store import publish
from steelyard_host.store.hashing import blake3, content_id, digest
from steelyard_host.store.layout import ManifestDocument
from steelyard_host.wire.store import VersionState

CHUNK = 4 << 20  # bytes


def manifest_of(folder: Path, origin: str) -> ManifestDocument:
    """The manifest of files that nobody declared; each byte is read once."""
    files: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            whole, other, chunks, size = hashlib.sha256(), blake3()(), [], 0
            with path.open("rb") as stream:
                while part := stream.read(CHUNK):
                    whole.update(part)
                    other.update(part)
                    chunks.append([len(part), digest(part)])
                    size += len(part)
            name = str(path.relative_to(folder))
            files[name] = {"size": size, "sha256": whole.hexdigest(), "blake3": other.hexdigest(), "chunks": chunks}
    content: dict[str, Any] = {"format": 1, "files": files, "tensors": {}}
    beside = {"origin": {"source": origin, "commit": None, "licence": None}, "fit": {}, "signature": None}
    return ManifestDocument({"id": content_id(content), **content, **beside})


def shard(
    root: Path, project: str, version: str, key: str, service: str, engine: str, ranks: int, user: str
) -> VersionState:
    """Has the engine load a version and save it as its ranks hold it, published as `_sharded/PROJECT`.

    Raises HelperError.
    """
    source = root / project / version
    if not source.is_dir():
        raise HelperError("%s is not published here" % source)
    with publish.receiving(root, "_sharded/" + project, key) as staged:
        shutil.rmtree(staged, ignore_errors=True)
        staged.mkdir(parents=True)
        try:
            probe = load_bench.LoadProbe(service, engine, str(source), ranks, user)
            shutil.chown(staged, probe.account)
            done = subprocess.run(
                probe.command("--save", str(staged), out=staged), capture_output=True, text=True, check=False
            )
            if done.returncode != 0:
                lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
                raise HelperError("the engine could not shard it: %s" % (lines or ["it said nothing"])[-1][:300])
            for path in [staged, *staged.rglob("*")]:
                if path.is_symlink():
                    raise HelperError("%s is a link, which no engine saves; nothing was published" % path)
                os.chown(path, 0, 0, follow_symlinks=False)
            for path in source.rglob("*"):
                if path.is_file() and ".safetensors" not in path.name:
                    target = staged / path.relative_to(source)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(path, target)
            manifest = manifest_of(staged, "%s %s, sharded for %d" % (project, version, ranks))
            publish.publish(root, "_sharded/" + project, key, manifest, staged)
        except OSError as error:
            raise HelperError("%s: %s; nothing was published" % (error.filename or staged, error.strerror)) from error
    return publish.state(root, "_sharded/" + project, key)
