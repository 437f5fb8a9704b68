"""The line of an inventory that pins the wheels which hosts install."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .wheel_sets import WheelSet


def declaration(chosen: WheelSet, lock_sha256: str, versions: Mapping[str, str]) -> str:
    """The line for group_vars that pins a set; another version than the site's goes into the map of versions."""
    from steelyard.serving.kinds import KINDS

    section = KINDS[chosen.build.kind].section
    if versions.get(chosen.build.kind, KINDS[chosen.build.kind].options.newest) == chosen.version:
        return f"{section}: {{lock_sha256: {lock_sha256}}}"
    return f'{section}: {{lock_sha256_of: {{"{chosen.version}": {lock_sha256}}}}}'
