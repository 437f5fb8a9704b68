"""Where this user's steelyard keeps what it can do without: hashes of sources, lists of facts. A secret only encrypted."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/steelyard`, else `~/.cache/steelyard`; made by whoever writes into it."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "steelyard"


def write_private(path: Path, content: bytes) -> None:
    """Write for this user only, in place by rename; readers see the old content or the new. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    staged = path.with_name(f".{path.name}.{os.getpid()}")
    staged.unlink(missing_ok=True)
    staged.touch(mode=0o600)
    staged.write_bytes(content)
    staged.rename(path)
