"""Files that are read whole and replaced whole: whoever reads one sees the old content or the new, never a part, and
what was replaced stays so when the power goes.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from steelyard_host.errors import HelperError


def read(path: Path) -> Any:
    """The file's JSON; None where there is no file, or what it holds is not JSON."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def read_object(path: Path) -> dict[str, Any]:
    """The file's JSON object; empty where there is none."""
    stored = read(path)
    return stored if isinstance(stored, dict) else {}


def read_state(path: Path) -> Any:
    """The JSON of a file that something is decided by; None where there is no file.

    Raises HelperError where it cannot be read: what it says is unknown then, which is not nothing.
    """
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise HelperError(
            "the record %s cannot be read: %s; remove it where no work of it is under way" % (path, error)
        ) from error


def sync_folder(folder: Path) -> None:
    """Waits until the names in a folder are on its disk. Raises OSError."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_atomically(path: Path, content: Any, mode: int | None = None) -> None:
    """Writes JSON (or text, where `content` is a str) under another name and renames it; makes the folder.

    `mode` sets the permissions before the file has its name. File and name are on the disk when it returns: a file
    system may otherwise have the name before the content, and an empty file is what a cut of the power leaves.
    Raises OSError.
    """
    text = content if isinstance(content, str) else json.dumps(content)
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(path.name + ".steelyard-new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | (os.O_TRUNC if mode is None else os.O_EXCL)
    if mode is not None:
        new.unlink(missing_ok=True)  # nobody else may have it open, or own it
    with os.fdopen(os.open(new, flags, 0o666 if mode is None else mode), "w") as stream:
        if mode is not None:
            os.fchmod(stream.fileno(), mode)
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(new, path)
    sync_folder(path.parent)
