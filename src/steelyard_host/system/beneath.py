"""Files and folders below an open folder that others may change meanwhile: no link is followed, and nothing can hang.

A name is taken component by component, each below the descriptor of the one before, so that no swap leads out of the
folder. What shall be read is first opened as a place alone (O_PATH), looked at, and then that very file is opened, if
it is a plain one: a FIFO cannot block, and a device is never set going. Only the folder at the top goes by its path:
its parents must be root's. Source: open(2), path_resolution(7).
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

DEEPEST = 200  # folders within each other: each holds a descriptor open
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
PLACE = os.O_PATH | os.O_NOFOLLOW
NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
KINDS = {stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}
# gone, swapped for another kind, or kept from readers by a lease: this moment's state of it, and no failure
CHANGED = frozenset([errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.EAGAIN, errno.ESTALE])


class WalkEntry(NamedTuple):
    """The entry that a walk stands at: its name below the top, its state, and a descriptor until the next step.

    The descriptor is the place of a file or link, for `reading` and `link_target`, and the open folder of a folder.
    """

    name: str
    status: os.stat_result
    handle: int


def parts(name: str) -> list[str]:
    """The components of a relative name. Raises OSError where it leaves its folder."""
    components = name.split("/")
    if any(part in ("", ".", "..") or "\0" in part for part in components):
        raise OSError(errno.EINVAL, "the name leaves its folder", name)
    return components


@contextmanager
def opened(folder: Path) -> Iterator[int]:
    """The descriptor of a folder whose parents only root may change. Raises OSError."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield handle
    finally:
        os.close(handle)


@contextmanager
def folder_at(top: int, name: str, make: bool = False) -> Iterator[int]:
    """The descriptor of the folder `name` below `top`; `make`: those that are missing are made.

    Raises OSError; where one is a link or a file, its sentence says which.
    """
    handle = os.open(".", FOLDER, dir_fd=top)
    try:
        for count, part in enumerate(parts(name) if name else [], 1):
            try:
                if make:
                    with suppress(FileExistsError):
                        os.mkdir(part, 0o755, dir_fd=handle)
                inner = os.open(part, FOLDER, dir_fd=handle)
            except OSError as error:
                why = "is a link or no folder" if error.errno in (errno.ENOTDIR, errno.ELOOP) else error.strerror
                raise OSError(error.errno, why, "/".join(name.split("/")[:count])) from error
            os.close(handle)
            handle = inner
        yield handle
    finally:
        os.close(handle)


@contextmanager
def parent_of(top: int, name: str, make: bool = False) -> Iterator[tuple[int, str]]:
    """The descriptor of the folder that `name` below `top` is in, and its last component. Raises OSError."""
    *folders, last = parts(name)
    with folder_at(top, "/".join(folders), make) as parent:
        yield parent, last


def reading(place: int) -> BinaryIO:
    """The file at a place, open for reading; not for ever where a lease is on it. Raises OSError for other kinds."""
    mode = os.fstat(place).st_mode
    if not stat.S_ISREG(mode):
        raise OSError(errno.ENXIO, "is %s" % KINDS.get(stat.S_IFMT(mode), "no file"))
    # by the descriptor, so it is this file, whatever has its name by now
    return os.fdopen(os.open("/proc/self/fd/%d" % place, os.O_RDONLY | os.O_NONBLOCK), "rb")


@contextmanager
def file_at(top: int, name: str) -> Iterator[BinaryIO]:
    """The plain file `name` below `top`, open for reading. Raises OSError, for every other kind too."""
    with parent_of(top, name) as (parent, last):
        place = os.open(last, PLACE, dir_fd=parent)
        try:
            file = reading(place)
        except OSError as error:
            raise OSError(error.errno, error.strerror, name) from error
        finally:
            os.close(place)
    with file:
        yield file


def link_target(place: int) -> str:
    """The text of the link at a place."""
    return os.readlink("", dir_fd=place)


@contextmanager
def new_file(top: int, name: str, mode: int) -> Iterator[BinaryIO]:
    """A file that takes the place of `name` when it is whole; a link or FIFO that stands there goes, never its target.

    Folders that are missing are made. Raises OSError.
    """
    with parent_of(top, name, make=True) as (parent, last):
        beside = ".%s.steelyard-%s" % (last[:200], os.urandom(6).hex())  # which nobody could have put there
        try:
            with os.fdopen(os.open(beside, NEW, 0o600, dir_fd=parent), "wb") as file:
                yield file
                file.flush()
                os.fchmod(file.fileno(), mode)
            os.rename(beside, last, src_dir_fd=parent, dst_dir_fd=parent)
        except BaseException:
            with suppress(OSError):
                os.unlink(beside, dir_fd=parent)
            raise


def new_link(top: int, name: str, target: str) -> None:
    """Puts a link in the place of `name`, whole at once; folders that are missing are made. Raises OSError."""
    with parent_of(top, name, make=True) as (parent, last):
        beside = ".%s.steelyard-%s" % (last[:200], os.urandom(6).hex())
        os.symlink(target, beside, dir_fd=parent)
        try:
            os.rename(beside, last, src_dir_fd=parent, dst_dir_fd=parent)
        except OSError:
            os.unlink(beside, dir_fd=parent)
            raise


def unlink(top: int, name: str) -> None:
    """Removes a file or link, if it is there: below a link it is not. Raises OSError."""
    with suppress(FileNotFoundError, NotADirectoryError), parent_of(top, name) as (parent, last):
        os.unlink(last, dir_fd=parent)


def walk(top: int, skip: Container[str], pass_over: Callable[[str, str], None]) -> Iterator[WalkEntry]:
    """Folders, plain files and links below `top`, a folder before what is in it; without the names in `skip`.

    `pass_over` is told the name of what is left out, and why: other kinds, and what went away meanwhile.
    Raises OSError.
    """
    return _walk(top, "", 0, skip, pass_over)


def _walk(
    folder: int, above: str, depth: int, skip: Container[str], pass_over: Callable[[str, str], None]
) -> Iterator[WalkEntry]:
    try:
        listed = set(os.listdir(folder))  # one that changes may list a name twice
    except FileNotFoundError:
        return  # it is removed: there is nothing in it
    for last in sorted(listed):
        name = above + last
        if name in skip:
            continue
        try:
            place = os.open(last, PLACE, dir_fd=folder)
        except OSError as error:
            if error.errno not in CHANGED:
                raise
            pass_over(name, "went away meanwhile")
            continue
        try:
            status = os.fstat(place)
            if stat.S_ISDIR(status.st_mode):
                if depth == DEEPEST:
                    pass_over(name, "lies in more than %d folders" % DEEPEST)
                    continue
                with folder_at(place, "") as inner:
                    yield WalkEntry(name, status, inner)
                    yield from _walk(inner, name + "/", depth + 1, skip, pass_over)
            elif stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode):
                yield WalkEntry(name, status, place)
            else:
                pass_over(name, "is " + KINDS.get(stat.S_IFMT(status.st_mode), "of an unknown kind"))
        finally:
            os.close(place)


def remove_tree(path: Path) -> None:
    """Removes a folder, if it is there, with all that is in it, however deep. Raises OSError, for a link too."""
    with suppress(FileNotFoundError), opened(path.parent) as above:
        with folder_at(above, path.name) as top:
            _empty(top)
        os.rmdir(path.name, dir_fd=above)


def discard_tree(path: Path) -> None:
    """Removes a folder as far as that is possible: what stays is in nobody's way."""
    with suppress(OSError):
        remove_tree(path)


def _empty(top: int) -> None:
    """Removes what is in a folder; folders within its folders move up into it first, so that depth costs nothing."""
    count = 0
    left = os.listdir(top)
    while left:
        name = left.pop()
        if _is_unlinked(top, name):
            continue
        with folder_at(top, name) as folder:
            for inner in os.listdir(folder):
                if not _is_unlinked(folder, inner):
                    count += 1
                    moved = ".steelyard-%s-%d" % (os.urandom(6).hex(), count)
                    os.rename(inner, moved, src_dir_fd=folder, dst_dir_fd=top)
                    left.append(moved)
        os.rmdir(name, dir_fd=top)


def _is_unlinked(folder: int, name: str) -> bool:
    """Whether an entry is gone; False for a folder, which stays."""
    try:
        os.unlink(name, dir_fd=folder)
    except IsADirectoryError:
        return False
    except FileNotFoundError:
        pass
    return True
