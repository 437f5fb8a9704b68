"""A version that lies on a mounted NAS: compared there byte by byte, then shown in the store by a link. Nothing is copied.

The NAS may be read-only; nothing is written to it. The manifest comes over standard input as an order (see relay.py), and
what happens is told as there: alive, published, error.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

from steelyard_host import store
from steelyard_host.chunks import chunks_of
from steelyard_host.hashing import NoHashLibrary, wrong_chunks
from steelyard_host.relay import ALIVE_S, ORDER, read_frame


def run(root: Path, project: str, version: str, folder: Path) -> int:
    """The helper's command. Comparing takes minutes, in which it says that it lives."""
    number, body = read_frame(sys.stdin.buffer.read)
    if number != ORDER:
        raise EOFError("an order was due")
    manifest, done = json.loads(body)["manifest"], threading.Event()
    threading.Thread(target=_live, args=(done,), daemon=True).start()
    try:
        adopt(root, project, version, folder, manifest)
    except (store.StoreError, NoHashLibrary) as error:
        _tell(error=str(error))
        return 1
    finally:
        done.set()
    _tell(published=manifest["id"])
    return 0


def _live(done: threading.Event) -> None:
    while not done.wait(ALIVE_S):
        _tell(alive=True)


def _tell(**what: Any) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def adopt(root: Path, project: str, version: str, folder: Path, manifest: dict[str, Any]) -> None:
    """Publish `folder` as the version. Raises StoreError; then nothing is visible."""
    store.checked(manifest)
    target = root / project / version
    if target.exists() and not target.is_symlink():
        raise store.StoreError("%s is a folder of its own; declare another version name" % target)
    if not folder.is_dir():
        raise store.StoreError("%s is not there; is the NAS mounted?" % folder)
    spans: dict[str, list[tuple[int, int, str]]] = {name: [] for name in manifest["files"]}
    for chunk in chunks_of(manifest):
        spans[chunk.file].append((chunk.offset, chunk.size, chunk.hash))
    for name, entry in manifest["files"].items():
        path = folder / name
        size = path.stat().st_size if path.is_file() else None
        if size != entry["size"] or wrong_chunks(path, spans[name]):
            what = "not there" if size is None else "other than at the source"
            raise store.StoreError("%s is %s; nothing was published" % (path, what))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        new = target.with_name("." + version + ".new")
        new.unlink(missing_ok=True)
        new.symlink_to(folder)
        os.replace(new, target)
        store.record(root, project, version, manifest)
    except OSError as error:
        raise store.StoreError("%s: %s; nothing was published" % (target, error.strerror)) from error
