"""Records of what was fetched to this machine: where a source's files lie, and the hashes that they were held against.

A version is made of the files of its source's record and of no others; a record is written last, when every file was
compared. Files come into a folder of their address, which a later version at the same address shares; what was compared
gets a folder of its pin's own, so that nothing which comes later changes it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from steelyard.dirs import cache_folder, mark_used, state_folder, write_private
from steelyard.errors import DownloadFailed, SourceMissing, SourceWrong
from steelyard.models.content.file_policy import refuse


@dataclass(frozen=True)
class FetchRequest:
    """One fetch. `endpoints` are tried in turn (None: the client's own); `on_progress` gets bytes done and in all.

    `code`: files of code may come; `pickles`: pickle weights may, because they will be converted.
    """

    model: str
    code: bool = False
    pickles: bool = False
    token: str | None = None
    endpoints: tuple[str | None, ...] = (None,)
    on_progress: Callable[[int, int], None] = lambda done, total: None


class PinnedByContent:
    """A source whose address says nothing of its content: the sha256 behind it is None until it is known."""

    url: Any  # a field of one kind, made of fields by the others
    sha256: str | None

    @property
    def uri(self) -> str:
        """The address with its pin, where there is one."""
        return f"{self.url}#sha256={self.sha256}" if self.sha256 else str(self.url)

    @property
    def pinned(self) -> bool:
        """True where the content is named."""
        return self.sha256 is not None

    def hold_to_pin(self, sha256: str, model: str, file: str, why: str) -> None:
        """Hold the content that came against the pin. Raises SourceRefused with `why` of `file`, where there is one."""
        if self.sha256 not in (None, sha256):
            raise refuse(self.uri, model, file, why)


@dataclass(frozen=True)
class Record:
    """A pinned source and its files: name below `folder` -> the source's own hash, `sha256:...` or `git:...`."""

    source: str
    folder: str
    licence: str | None
    files: dict[str, str]

    @property
    def paths(self) -> dict[str, Path]:
        """The files' paths by their names."""
        return {name: Path(self.folder) / name for name in self.files}

    @property
    def commit(self) -> str | None:
        """The revision that pins the source, out of its own name; None where its content does."""
        return (
            self.source.rsplit("@", 1)[1].split("#")[0] if self.source.startswith(("hf://", "modelscope://")) else None
        )


def parsed(form: re.Pattern[str], uri: str, where: str) -> re.Match[str]:
    """The parts of an address of this form. Raises SourceWrong."""
    parts = form.match(uri)
    if parts is None:
        raise SourceWrong(where=where, source=uri)
    return parts


def record_path(uri: str) -> Path:
    """The file of a source's record."""
    return state_folder() / "sources" / (hashlib.sha256(uri.encode()).hexdigest()[:32] + ".json")


def source_folder(uri: str) -> Path:
    """The folder for files of a source that has no cache of its own."""
    return cache_folder() / "sources" / hashlib.sha256(uri.encode()).hexdigest()[:32]


def write_record(record: Record) -> Record:
    """Write the record, which is what makes its files a source; gives it back."""
    write_private(record_path(record.source), json.dumps(asdict(record), indent=1).encode())
    return record


def publish(uri: str, working: Path, hashes: dict[str, str]) -> Record:
    """Give compared files the folder of their pin, as links beside those in `working`, which a next version may share.

    Raises DownloadFailed.
    """
    folder = source_folder(uri) / "files"
    try:
        for name in hashes:
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            staged = target.with_name(f".{target.name}.{os.getpid()}")
            staged.unlink(missing_ok=True)
            link_or_copy(working / name, staged)
            staged.replace(target)
            staged.unlink(missing_ok=True)  # a rename between two links of one file does nothing
        return write_record(Record(uri, str(folder), None, hashes))
    except OSError as error:
        raise DownloadFailed(where=uri, why=f"{error.strerror}: {error.filename}") from error


def link_or_copy(path: Path, target: Path) -> None:
    """Put the file at `target`: as a link to the same bytes where the file systems are one, else as a copy."""
    try:
        os.link(path.resolve(), target)
    except OSError:
        shutil.copyfile(path, target)


def altered_file(record: Record, sha256: Callable[[str], str]) -> str | None:
    """The first file that is not what was fetched; None where all are. `sha256` tells that of a file's content by its
    name.
    """
    for name, recorded in record.files.items():
        kind, wanted = recorded.split(":", 1)
        if wanted != (sha256(name) if kind == "sha256" else git_blob_of(record.paths[name])):
            return name
    return None


def record_of(uri: str) -> Record | None:
    """The record of a source; None where it was not fetched here, or files of it have gone."""
    try:
        stored: dict[str, Any] = json.loads(record_path(uri).read_text())
        record = Record(stored["source"], stored["folder"], stored["licence"], stored["files"])
    except (OSError, ValueError, KeyError):
        return None
    return record if record.files and all(path.is_file() for path in record.paths.values()) else None


def fetched(uri: str, model: str, where: str) -> Record:
    """The record of a source that was added here. Raises SourceMissing."""
    record = record_of(uri)
    if record is None:
        not_here = f"{uri}: not fetched on this machine; `steelyard models add {model} VERSION --source {uri}`"
        raise SourceMissing(where=where, model=model, source=not_here)
    mark_used(record_path(uri))
    return record


def listing_hash(files: dict[str, str]) -> str:
    """The sha256 of `HASH  NAME` lines in the order of names: what `sha256sum` writes, sorted."""
    lines = "".join(f"{files[name].split(':', 1)[1]}  {name}\n" for name in sorted(files))
    return hashlib.sha256(lines.encode()).hexdigest()


def git_blob_of(path: Path) -> str:
    """Git's own name of a file's content: what the Hub tells of files that are not in its large file store."""
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def sha256_of(path: Path) -> str:
    """The sha256 of a file, read whole."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
