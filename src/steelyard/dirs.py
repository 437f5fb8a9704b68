"""Folders in which this user's steelyard keeps what it can do without, and what it did; secrets only encrypted. And
the word that stands for an inventory there.
"""

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
    """`$XDG_STATE_HOME/steelyard`, else `~/.local/state/steelyard`: what this user's steelyard did; not to be
    deleted.
    """
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "steelyard"


def layers_of(inventory: Path) -> tuple[Path, ...]:
    """The inventories that one name stands for: itself, or those between commas, as in ansible.cfg's `inventory`. What
    a later one says holds before what an earlier one says.
    """
    if "," not in str(inventory) or os.path.lexists(inventory):
        return (inventory,)
    return tuple(Path(part) for part in str(inventory).split(",") if part) or (inventory,)


def resolved_name(inventory: Path) -> str:
    """The same name for the same inventories, whatever the working directory."""
    return ",".join(str(layer.resolve()) for layer in layers_of(inventory))


def fleet_key(inventory: Path) -> str:
    """The same word for the same inventories, whatever the working directory."""
    return hashlib.sha256(resolved_name(inventory).encode()).hexdigest()[:24]
