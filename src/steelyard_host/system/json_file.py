"""Files that are read whole and replaced whole: whoever reads one sees the old content or the new, never a part."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


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


def write_atomically(path: Path, content: Any, mode: int | None = None, durable: bool = False) -> None:
    """Writes JSON (or text, where `content` is a str) under another name and renames it; makes the folder.

    `mode` sets the permissions before the file has its name; `durable` waits for the disk. Raises OSError.
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
        if durable:
            stream.flush()
            os.fsync(stream.fileno())
    os.replace(new, path)
