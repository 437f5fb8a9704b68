"""A version that lies on a mounted NAS: compared there byte by byte, then shown in the store by a link. Nothing is
copied.

The NAS may be read-only; nothing is written to it. The manifest comes over standard input as AdoptCommand, and what
happens is told as in a push: Alive, Adopted, Failed.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from steelyard_host.errors import HelperError
from steelyard_host.store import publish
from steelyard_host.store.hashing import wrong_chunks
from steelyard_host.store.layout import ManifestDocument
from steelyard_host.store.relay import ALIVE_S, read_first, tell
from steelyard_host.wire.relay import AdoptCommand, Adopted, Alive, Failed


def run(root: Path, project: str, version: str, folder: Path) -> int:
    """Does what `store-adopt` does. Comparing takes minutes, in which it says that it lives."""
    manifest, done = ManifestDocument(read_first(sys.stdin.buffer, AdoptCommand).manifest), threading.Event()
    threading.Thread(target=_live, args=(done,), daemon=True).start()
    try:
        adopt(root, project, version, folder, manifest)
    except HelperError as error:
        tell(Failed(str(error)))
        return 1
    finally:
        done.set()
    tell(Adopted(manifest.id))
    return 0


def _live(done: threading.Event) -> None:
    while not done.wait(ALIVE_S):
        tell(Alive())


def adopt(root: Path, project: str, version: str, folder: Path, manifest: ManifestDocument) -> None:
    """Publishes `folder` as the version. Raises HelperError; then nothing is visible."""
    publish.require_safe_names(manifest)
    target = root / project / version
    if target.exists() and not target.is_symlink():
        raise HelperError("%s is a folder of its own; declare another version name" % target)
    if not folder.is_dir():
        raise HelperError("%s is not there; is the NAS mounted?" % folder)
    spans = manifest.spans()
    for name, entry in manifest.files.items():
        path = folder / name
        size = path.stat().st_size if path.is_file() else None
        if size != entry["size"] or wrong_chunks(path, spans[name]):
            what = "not there" if size is None else "other than at the source"
            raise HelperError("%s is %s; nothing was published" % (path, what))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        publish.replace_link(target, str(folder))
        publish.record(root, project, version, manifest)
    except OSError as error:
        raise HelperError("%s: %s; nothing was published" % (target, error.strerror)) from error
