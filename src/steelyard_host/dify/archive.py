"""The archive of a backup: written while containers change the files, read byte by byte, and laid out again.

Containers may write the volumes, so files are taken and laid by descriptors alone (beneath.py): what is no file, folder
or link, and what was swapped or went away meanwhile, is passed over and told, and the archive goes on. The last member
lists every other with its hash, so an archive that was cut short is told from a whole one.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import stat
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from steelyard_host.dify import database, job_progress
from steelyard_host.dify.stack import DifyError, Stack
from steelyard_host.system import beneath, untar
from steelyard_host.system.digest import sha256_stream
from steelyard_host.wire.codec import from_json, to_json
from steelyard_host.wire.dify import ArchiveList, PassedOver

LIST = "MANIFEST.json"
LEFT_OUT = ("volumes/db", "volumes/redis", "volumes/certbot/logs")  # dumped apart, a cache, logs
AT_ONCE = 1 << 20  # bytes: a file of at most so many is read before its member is begun
MOST_TOLD = 100  # names of what was passed over


class _Content(io.RawIOBase):
    """A file that is hashed while it is read, and has as many bytes as were announced: zeros where it became shorter.

    `moved` hears how many bytes came.
    """

    def __init__(self, file: BinaryIO, size: int, moved: Callable[[int], None]) -> None:
        self._file, self._left, self._moved = file, size, moved
        self.sum, self.is_short = hashlib.sha256(), False

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        wanted = self._left if size < 0 else min(size, self._left)
        block = self._file.read(wanted)
        if len(block) < wanted:
            self.is_short = True
            block += bytes(wanted - len(block))
        self._left -= wanted
        self.sum.update(block)
        self._moved(len(block))
        return block


class _StepProgress:
    """Adds up the bytes of one step, and tells them."""

    def __init__(self, what: str, total: int) -> None:
        self.what, self.done, self.total = what, 0, total

    def __call__(self, size: int) -> None:
        self.done += size
        job_progress.tell(self.what, self.done, self.total)


class _Counted(io.RawIOBase):
    """An archive of which it is told how far it is read."""

    def __init__(self, what: str, path: Path) -> None:
        self._file = path.open("rb")
        self._moved = _StepProgress(what, path.stat().st_size)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        size = self._file.readinto(buffer)
        self._moved(size)
        return int(size)

    def close(self) -> None:
        self._file.close()
        super().close()


class _Members:
    """The members of an archive that is written, with their sums, and what was passed over."""

    def __init__(self, archive: tarfile.TarFile) -> None:
        self._archive = archive
        self._first_names: dict[tuple[int, int], str] = {}  # of files that have several
        self.sums: dict[str, str] = {}
        self.passed_over: list[PassedOver] = []
        self.passed = 0

    def pass_over(self, name: str, why: str) -> None:
        """Takes note of what is not in the archive, or not as it was."""
        self.passed += 1
        if len(self.passed_over) < MOST_TOLD:
            self.passed_over.append(PassedOver(name, why))

    def add_entry(self, entry: beneath.WalkEntry, moved: _StepProgress) -> None:
        """Adds what a walk stands at."""
        name = "dify/" + entry.name
        if stat.S_ISREG(entry.status.st_mode):
            try:
                file = beneath.reading(entry.handle)
            except OSError as error:
                if error.errno not in beneath.CHANGED:
                    raise
                self.pass_over(entry.name, "is kept from being read: %s" % error.strerror)
                return
            with file:
                if self.add_file(file, name, moved):
                    self.pass_over(entry.name, "became shorter while it was read; the rest of it is zeros")
            return
        member = _member(name, entry.status)
        if stat.S_ISLNK(entry.status.st_mode):
            member.type, member.linkname = tarfile.SYMTYPE, beneath.link_target(entry.handle)
        else:
            member.type = tarfile.DIRTYPE
        self._archive.addfile(member)
        self.sums[name] = member.linkname

    def add_file(self, file: BinaryIO, name: str, moved: _StepProgress) -> bool:
        """Adds an open file; whether it became shorter meanwhile."""
        status = os.fstat(file.fileno())
        member, number = _member(name, status), (status.st_dev, status.st_ino)
        if status.st_nlink > 1 and number in self._first_names:
            member.type, member.linkname = tarfile.LNKTYPE, self._first_names[number]
            self._archive.addfile(member)
            self.sums[name] = member.linkname
            return False
        if status.st_size <= AT_ONCE:
            read = file.read(status.st_size)
            file, member.size = io.BytesIO(read), len(read)
        else:
            member.size = status.st_size
        content = _Content(file, member.size, moved)
        self._archive.addfile(member, content)
        self.sums[name] = content.sum.hexdigest()
        if status.st_nlink > 1:
            self._first_names[number] = name
        return content.is_short


def _member(name: str, status: os.stat_result) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.mode, member.uid, member.gid = stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid
    member.mtime = status.st_mtime
    return member


def files_size(folder: Path) -> int:
    """Bytes of the files that belong into the archive. Raises OSError."""
    with beneath.opened(folder) as top:
        walked = beneath.walk(top, LEFT_OUT, lambda name, why: None)
        return sum(entry.status.st_size for entry in walked)


def write(stack: Stack, work: Path, head: ArchiveList) -> ArchiveList:
    """Writes `archive` into the folder `work`, of dumps and of every file of the stack; the list that it ends with.

    Raises DifyError, OSError.
    """
    # the least compression: most of it is dumps and files that are packed already; none while Dify is stopped: `make
    # bench-backup`
    with tarfile.open(work / "archive", "w:gz", compresslevel=0 if head.stopped else 1) as archive:
        members = _Members(archive)
        for name in head.databases:
            dump = work / "dump"
            database.dump(stack, name, dump)
            with dump.open("rb") as file:
                moved = _StepProgress("archive of database %s" % name, dump.stat().st_size)
                members.add_file(file, "db/%s.dump" % name, moved)
            dump.unlink()
        moved = _StepProgress("archive of the files", files_size(stack.folder))
        with beneath.opened(stack.folder) as top:
            for entry in beneath.walk(top, LEFT_OUT, members.pass_over):
                members.add_entry(entry, moved)
        listed = head._replace(
            files=members.sums, passed_over=tuple(members.passed_over), passed_over_count=members.passed
        )
        text = json.dumps(to_json(listed), indent=1).encode()
        last = tarfile.TarInfo(LIST)
        last.size, last.mode = len(text), 0o600
        archive.addfile(last, io.BytesIO(text))
    with (work / "archive").open("rb") as written:
        os.fsync(written.fileno())
    return listed


def verify(path: Path) -> ArchiveList:
    """Reads every byte; the archive's own list. Raises DifyError: half written, damaged, no archive of ours."""
    sums: dict[str, str] = {}
    listed: ArchiveList | None = None
    names = untar.MemberNames()
    try:
        with _Counted("reading the archive", path) as file_on_disk, gzip.open(file_on_disk) as stream:
            with tarfile.open(fileobj=stream, mode="r|") as archive:
                for entry in archive:
                    _take(names, entry, path)
                    file = archive.extractfile(entry) if entry.isreg() else None
                    if entry.name == LIST and file is not None:
                        listed = from_json(ArchiveList, json.loads(file.read()))
                        continue
                    sums[entry.name] = entry.linkname if file is None else sha256_stream(file)
            while stream.read(1 << 20):
                pass  # to the end: the sum of all is there
    except (tarfile.TarError, EOFError, ValueError, OSError, zlib.error) as error:
        why = getattr(error, "strerror", None) or "it ends in the middle"
        raise DifyError("%s is half written or damaged: %s" % (path, why)) from error
    if listed is None:
        raise DifyError("%s is half written: its list of files is missing" % path)
    wrong = sorted(name for name in listed.files.keys() | sums.keys() if listed.files.get(name) != sums.get(name))
    if wrong:
        raise DifyError("%s is damaged: %s is not what was written" % (path, wrong[0]))
    return listed


def extract(path: Path, target: Path) -> None:
    """Unpacks everything into a new folder, with owners and modes. Raises DifyError, OSError.

    Nothing is written outside of it, whatever the archive says.
    """
    target.mkdir(mode=0o700, parents=True)
    names = untar.MemberNames()
    with (
        beneath.opened(target) as top,
        _Counted("unpacking the archive", path) as file,
        tarfile.open(fileobj=file, mode="r|gz") as archive,
    ):
        for entry in archive:
            untar.restore_member(archive, entry, top, _take(names, entry, path))


def _take(names: untar.MemberNames, entry: tarfile.TarInfo, path: Path) -> str:
    """The name of the next member. Raises DifyError for one that is none of ours."""
    try:
        name = names.take(entry)
        if "/" not in name and name != LIST:
            raise untar.UnsafeMember("%s is neither below db nor below dify" % (entry.name or "a name"))
    except untar.UnsafeMember as error:
        raise DifyError("%s is no archive of ours: %s" % (path, error)) from error
    return name
