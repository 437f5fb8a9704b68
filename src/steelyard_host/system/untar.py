"""Members of a tar archive laid below an open folder, each by descriptors: none can lead, or be led, out of it.

Python's tarfile before 3.12 writes through links that an archive has put there itself, and its filters came with
releases that hosts may not have.
"""

from __future__ import annotations

import os
import shutil
import stat
import tarfile
from contextlib import suppress
from typing import BinaryIO

from steelyard_host.errors import HelperError
from steelyard_host.system import beneath

KINDS = {tarfile.REGTYPE: "file", tarfile.AREGTYPE: "file", tarfile.LNKTYPE: "file", tarfile.SYMTYPE: "link"}
KINDS[tarfile.DIRTYPE] = "folder"
BLOCK = 1 << 20  # bytes


class UnsafeMember(HelperError):
    """A member that no archive of ours has; its text says which, and why."""


class MemberNames:
    """The names of an archive's members so far: each is there once, and lies outside of nothing and below no link."""

    def __init__(self) -> None:
        self._kinds: dict[str, str] = {}

    def take(self, member: tarfile.TarInfo) -> str:
        """The name of the next member below the folder; empty for the folder itself. Raises UnsafeMember."""
        name = "/".join(part for part in member.name.split("/") if part != ".")
        kind = KINDS.get(member.type)
        if kind is None:
            raise UnsafeMember("%s is neither file, folder nor link" % member.name)
        if not name:
            return name
        self._require_inside(member.name, name)
        if member.islnk():
            self._require_inside(member.linkname, member.linkname)
            if self._kinds.get(member.linkname) != "file":
                raise UnsafeMember("%s is a second name of %s, which is no file in it" % (name, member.linkname))
        if self._kinds.get(name, kind) != kind or (kind != "folder" and name in self._kinds):
            raise UnsafeMember("it names %s twice" % name)
        self._kinds[name] = kind
        return name

    def _require_inside(self, told: str, name: str) -> None:
        """Raises UnsafeMember for a name that leaves the folder, and for one below what is no folder."""
        try:
            parts = beneath.parts(name)
        except OSError as error:
            raise UnsafeMember("it names %s, which leaves its folder" % told) from error
        above = ""
        for part in parts[:-1]:
            above = above + "/" + part if above else part
            if self._kinds.setdefault(above, "folder") != "folder":
                raise UnsafeMember("%s lies below %s, which is a %s" % (name, above, self._kinds[above]))


def restore_member(archive: tarfile.TarFile, member: tarfile.TarInfo, top: int, name: str) -> None:
    """Lays a member below `top` with its owner, mode and time; what is there already is in the way.

    Raises OSError. `name` is what MemberNames gave for it.
    """
    if not name:
        return
    owner = (member.uid, member.gid) if os.geteuid() == 0 else None
    with beneath.parent_of(top, name, make=True) as (parent, last):
        if member.issym():
            os.symlink(member.linkname, last, dir_fd=parent)
            if owner is not None:
                os.chown(last, *owner, dir_fd=parent, follow_symlinks=False)
        elif member.islnk():
            with beneath.parent_of(top, member.linkname) as (other, first):
                os.link(first, last, src_dir_fd=other, dst_dir_fd=parent, follow_symlinks=False)
        elif member.isdir():
            with suppress(FileExistsError):
                os.mkdir(last, 0o700, dir_fd=parent)
            with beneath.folder_at(parent, last) as folder:
                _settle(folder, member, owner)
        else:
            handle = os.open(last, beneath.NEW, 0o600, dir_fd=parent)
            with os.fdopen(handle, "wb") as file:
                _copy(archive, member, file)
                _settle(handle, member, owner)


def replace_member(archive: tarfile.TarFile, member: tarfile.TarInfo, top: int, name: str) -> None:
    """Lays a member below `top` in the place of what is there, as root's; folders keep what is in them.

    Raises OSError. `name` is what MemberNames gave for it.
    """
    if member.isdir():
        with beneath.folder_at(top, name, make=True):
            return
    if member.issym():
        beneath.new_link(top, name, member.linkname)
        return
    if member.islnk():
        with beneath.file_at(top, member.linkname) as first:
            mode = stat.S_IMODE(os.fstat(first.fileno()).st_mode)
            with beneath.new_file(top, name, mode) as file:
                shutil.copyfileobj(first, file)
        return
    with beneath.new_file(top, name, stat.S_IMODE(member.mode)) as file:
        _copy(archive, member, file)
        os.utime(file.fileno(), (member.mtime, member.mtime))


def _copy(archive: tarfile.TarFile, member: tarfile.TarInfo, target: BinaryIO) -> None:
    """Writes a member's content, and sees to it that it is in the file."""
    source = archive.extractfile(member)
    assert source is not None  # it is a file
    shutil.copyfileobj(source, target, BLOCK)
    target.flush()


def _settle(handle: int, member: tarfile.TarInfo, owner: tuple[int, int] | None) -> None:
    """Gives an open file or folder the owner, mode and time of its member; the mode last, for setuid bits."""
    if owner is not None:
        os.fchown(handle, *owner)
    os.fchmod(handle, stat.S_IMODE(member.mode))
    with suppress(OverflowError):  # a container may have set a time that is none
        os.utime(handle, (member.mtime, member.mtime))
