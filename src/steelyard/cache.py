"""Where this user's steelyard keeps what it can do without: hashes of sources, lists of facts. Never a secret."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/steelyard`, else `~/.cache/steelyard`; made by whoever writes into it."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "steelyard"
