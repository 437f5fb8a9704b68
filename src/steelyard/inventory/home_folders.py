"""The two folders that may be meant by `~`: the one of the user's entry, which ssh takes whatever HOME says, and HOME,
which shells and other programs take. They differ in containers, as those of CI runners.

Host keys and login keys are looked for in both, HOME's first: what a job wrote to `~/.ssh` is there, and what ssh would
use as well.
"""

from __future__ import annotations

import os
import pwd


def home_folder() -> str:
    """Return the folder that ssh takes for home."""
    return pwd.getpwuid(os.getuid()).pw_dir


def at_both_homes(path: str) -> list[str]:
    """Return the path, which may begin with `~/`; before it the same one below HOME, where it lies at ssh's home and
    HOME is another folder.
    """
    home, said = home_folder(), os.environ.get("HOME", "")
    path = home + path[1:] if path == "~" or path.startswith("~/") else path
    if said in ("", home) or not path.startswith(f"{home}/"):
        return [path]
    return [said + path[len(home) :], path]
