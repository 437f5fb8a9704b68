"""Archives unpacked without trust: plain files with plain names, nothing that points anywhere, no more than declared.

Members are read and written by us, one by one; neither tarfile nor zipfile ever makes a link, a device or a mode.
"""

from __future__ import annotations

import shutil
import stat
import tarfile
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple, cast

from steelyard.errors import SourceRefused
from steelyard.models.content.file_policy import name_wrong, refuse, same_when_folded

from .decompression import MOST_MEMBERS, RATIO, BoundedHeader, Decompressed, packed_by, unpacked_limit

TARS = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2")
ENDINGS = (*TARS, ".zip")
ZIPPED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)
BLOCK = 4 << 20  # bytes
STREAM = 256 << 10  # bytes that a tar archive is read by


class Member(NamedTuple):
    """One member of an archive. `why` says what is wrong with it; None: a plain file."""

    name: str
    size: int
    why: str | None
    stream: IO[bytes] | None


def unpack(archive: Path, kind: str, folder: Path, model: str, where: str) -> None:
    """Plain files of the archive into an empty folder; one top folder that holds all others is left out.

    `kind` is the archive's name as its source has it. Raises SourceRefused; then nothing is left in the folder.
    """
    try:
        _check(archive, kind, folder, model, where)
        with _Members(archive, kind) as members:
            for member in members:
                assert member.stream is not None
                target = folder / member.name
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("xb") as out:
                    shutil.copyfileobj(member.stream, out, BLOCK)
                    if out.tell() != member.size:
                        raise refuse(
                            where, model, member.name, f"it has {out.tell()} bytes, the archive says {member.size}"
                        )
        _lift(folder)
    except SourceRefused:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    except Exception as error:  # a hostile archive fails in any way it likes
        shutil.rmtree(folder, ignore_errors=True)
        raise refuse(where, model, PurePosixPath(kind).name, _sentence(error, folder)) from error


def _sentence(error: Exception, folder: Path) -> str:
    if isinstance(error, OSError) and error.errno:
        return f"{error.strerror}: {error.filename or folder}"
    return " ".join(f"the archive cannot be read: {str(error) or type(error).__name__}".split())


def _check(archive: Path, kind: str, folder: Path, model: str, where: str) -> None:
    """Every member before the first byte is written."""
    names, total, limit = [], 0, unpacked_limit(archive)
    with _Members(archive, kind) as members:
        for name, size, why, _ in members:
            if why is None:
                why = name_wrong(name)
            if why is not None:
                raise refuse(where, model, name, why)
            names.append(name)
            total += size
            if len(names) > MOST_MEMBERS:
                raise refuse(where, model, PurePosixPath(kind).name, f"it has more than {MOST_MEMBERS} files")
            if total > limit:
                why = f"it unpacks to more than {limit} bytes: {RATIO} times its own size is taken for a trap"
                raise refuse(where, model, PurePosixPath(kind).name, why)
    for name, count in Counter(names).items():
        if count > 1:
            raise refuse(where, model, name, "the archive has it twice")
    folded = same_when_folded(names)
    if folded is not None:
        raise refuse(where, model, folded[1], f"`{folded[0]}` differs from it by case only")
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if total > free:
        raise refuse(where, model, PurePosixPath(kind).name, f"it unpacks to {total} bytes, and {free} are free")


class _Members:
    """Members of an archive, their streams open while they are looked at."""

    def __init__(self, archive: Path, kind: str) -> None:
        self._zip = zipfile.ZipFile(archive) if kind.endswith(".zip") else None
        packed = None if self._zip else packed_by(archive)
        self._plain = Decompressed(archive, packed) if packed else None
        self._tar = None if self._zip else self._opened(archive)

    def _opened(self, archive: Path) -> tarfile.TarFile:
        if self._plain is None:
            return tarfile.open(archive, "r:", tarinfo=BoundedHeader)
        return tarfile.open(fileobj=cast(Any, self._plain), mode="r|", tarinfo=BoundedHeader, bufsize=STREAM)

    def __enter__(self) -> Iterator[Member]:
        return self._zipped(self._zip) if self._zip else self._tarred(self._tar)

    def __exit__(self, *_: object) -> None:
        for opened in (self._zip, self._tar, self._plain):
            if opened is not None:
                opened.close()

    @staticmethod
    def _zipped(archive: zipfile.ZipFile) -> Iterator[Member]:
        for entry in archive.infolist():
            if entry.is_dir():
                continue
            mode = entry.external_attr >> 16
            plain = stat.S_IFMT(mode) in (0, stat.S_IFREG)
            why = None if plain else "a link or a device"
            if entry.compress_type not in ZIPPED:
                yield Member(entry.filename, 0, "it is packed in a way that no limit of memory can be set for", None)
                continue
            with archive.open(entry) as stream:
                yield Member(entry.filename, entry.file_size, why, stream if plain else None)

    @staticmethod
    def _tarred(archive: tarfile.TarFile | None) -> Iterator[Member]:
        assert archive is not None
        for entry in archive:
            if entry.isdir():
                continue
            if entry.isreg():
                yield Member(entry.name.removeprefix("./"), entry.size, None, archive.extractfile(entry))
            else:
                kind = "a link" if entry.issym() or entry.islnk() else "neither a file nor a folder"
                to = f" to `{entry.linkname}`" if entry.linkname else ""
                yield Member(entry.name, 0, f"{kind}{to}", None)


def _lift(folder: Path) -> None:
    """`model-v1/…` becomes `…`, where that is all there is."""
    inside = list(folder.iterdir())
    if len(inside) == 1 and inside[0].is_dir():
        top = inside[0].rename(folder / ".top")
        for path in list(top.iterdir()):
            path.rename(folder / path.name)
        top.rmdir()
