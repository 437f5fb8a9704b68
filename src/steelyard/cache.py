"""Where this user's steelyard keeps things: what it can do without, and what it did. A secret only encrypted."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
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


def mark_used(path: Path) -> None:
    """Set its time, so that who removes what nobody uses leaves it alone."""
    with suppress(OSError):
        os.utime(path)


def state_folder() -> Path:
    """`$XDG_STATE_HOME/steelyard`, else `~/.local/state/steelyard`: what this user's steelyard did; not to be deleted."""
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "steelyard"


def fleet_key(inventory: Path) -> str:
    """The same word for the same inventory, whatever the working directory."""
    return hashlib.sha256(str(inventory.resolve()).encode()).hexdigest()[:24]
