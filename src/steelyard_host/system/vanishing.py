"""Reads of what may go away while it is read: processes end, versions are removed, a receiver renames its files.

What is gone is left out, as if the look had come a moment later; every other failure is one. Path.rglob and a stat of
what was listed raise here.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

# a process that ended says ESRCH from open files of /proc; a control group ENODEV; a NAS ESTALE
GONE = frozenset([errno.ENOENT, errno.ESRCH, errno.ENODEV, errno.ENOTDIR, errno.ESTALE])


def text(path: Path) -> str | None:
    """The text of a file; None where it, or the process that it is about, is gone. Raises OSError."""
    try:
        return path.read_text(errors="replace")
    except OSError as error:
        _raise_unless_gone(error)
        return None


def entries(folder: Path) -> list[Path]:
    """The entries of a folder, by name; none where it is gone. Raises OSError."""
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        _raise_unless_gone(error)
        return []


def stats(paths: Iterable[Path]) -> Iterator[tuple[Path, os.stat_result]]:
    """The paths that are still there, each with its stat; links are followed. Raises OSError."""
    for path in paths:
        try:
            yield path, path.stat()
        except OSError as error:
            _raise_unless_gone(error)


def files(folder: Path) -> list[tuple[Path, os.stat_result]]:
    """Every regular file below a folder with its stat, by path; links to files are followed. Raises OSError."""
    return [(path, status) for path, status in stats(below(folder)) if _is_regular(status)]


def below(folder: Path) -> list[Path]:
    """All that lies below a folder, by path; folders that are links are not entered. Raises OSError."""
    walked = os.walk(folder, onerror=_raise_unless_gone)
    return sorted(Path(at, name) for at, folders, names in walked for name in (*folders, *names))


def _is_regular(status: os.stat_result) -> bool:
    return status.st_mode & 0o170000 == 0o100000


def _raise_unless_gone(error: OSError) -> None:
    if error.errno not in GONE:
        raise error
