"""A version into a folder of this machine: from its source, else from a host that holds it; whole by rename, or not at
all.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pyinfra.api.command import QuoteString, StringCommand

from steelyard.artifacts.helper import RUN_HELPER
from steelyard.errors import FileNotWritten, FolderThere, PushFailed, SourceMissing
from steelyard.events import BytesMoved, Emit
from steelyard.models.content.manifest import Manifest
from steelyard.models.sources.declared import declared_version
from steelyard.modules.connectors.connection import connection_of
from steelyard_host.store.hashing import digest

from .store_queries import held_version, listed, site_in

if TYPE_CHECKING:
    from pyinfra.api.host import Host

    from steelyard.engine.session import Session
    from steelyard.inventory.fleet import Fleet


def export_version(
    fleet: Fleet, session: Session, model: str, version: str, folder: Path, where: str, emit: Emit
) -> tuple[Manifest, str]:
    """The manifest, and whom it came from. Raises VersionNotHere, FolderThere, FileNotWritten, PushFailed."""
    if folder.exists():
        raise FolderThere(where=str(folder))
    site = site_in(fleet)
    declared = site.models.get(model)
    source: Path | None = None
    manifest: Manifest | None = None
    if declared is not None and declared.version == version:
        try:
            manifest, source = declared_version(model, declared)
        except SourceMissing:
            pass  # a host may have it
    made = folder.with_name(f".{folder.name}.making")
    shutil.rmtree(made, ignore_errors=True)
    try:
        if manifest is not None and source is not None:
            _write(made, manifest, _from_source(source, manifest), "this machine", emit)
            origin = "its source"
        else:
            manifest, host = held_version(session, site.model_root, listed(fleet, session), model, version, where)
            origin = host.name
            _write(made, manifest, _from_host(host, manifest, site.model_root, model, version), origin, emit)
        made.rename(folder)
    except OSError as error:
        raise FileNotWritten(where=str(error.filename or folder), why=error.strerror or str(error)) from error
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return manifest, origin


def _from_source(source: Path, manifest: Manifest) -> Iterator[bytes]:
    for name, file in manifest.files.items():
        with (source / name).open("rb") as stream:
            for chunk in file.chunks:
                yield stream.read(chunk.size)


def _from_host(host: Host, manifest: Manifest, root: str, model: str, version: str) -> Iterator[bytes]:
    """The helper sends the bytes of all files in the manifest's order and nothing else. Raises PushFailed."""
    argv = (QuoteString(word) for word in ("store-send", root, model, version))
    talk = connection_of(host).open_stream(StringCommand(RUN_HELPER, *argv))
    try:
        for file in manifest.files.values():
            for chunk in file.chunks:
                yield talk.bytes(chunk.size)
    except (OSError, EOFError) as error:
        raise PushFailed(where=host.name, why=str(error) or "the link ended") from error
    finally:
        talk.close()


def _write(folder: Path, manifest: Manifest, chunks: Iterator[bytes], origin: str, emit: Emit) -> None:
    (folder / ".steelyard").mkdir(parents=True)
    done = 0
    for name, file in manifest.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as out:
            for number, chunk in enumerate(file.chunks):
                data = next(chunks, b"")
                if digest(data) != chunk.blake3:
                    raise PushFailed(
                        where=origin, why=f"chunk {number} of {name} is not what it should be; nothing was written"
                    )
                out.write(data)
                done += len(data)
                emit(BytesMoved(origin, "read", done, manifest.size))
    (folder / ".steelyard/manifest.json").write_text(json.dumps(manifest.as_json()))
