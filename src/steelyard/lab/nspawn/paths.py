"""Folders of labs on this machine. Only this file knows the folders."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from steelyard.errors import LabNameWrong


def state_root() -> Path:
    return Path(os.environ.get("STEELYARD_LAB_STATE", "/var/lib/steelyard/lab"))


def cache_root() -> Path:
    return Path(os.environ.get("STEELYARD_LAB_CACHE", "/var/cache/steelyard/lab"))


def base_folder(release: str) -> Path:
    return cache_root() / "base" / release


def _require_name(what: str, name: str) -> None:
    if not re.fullmatch("[a-z0-9][a-z0-9-]{0,31}", name):
        raise LabNameWrong(where="steelyard lab", what=what, name=name)


def layer_folder(name: str) -> Path:
    """Return the folder of a layer. Raises LabNameWrong: a layer of another name would be written into folders of
    others.
    """
    _require_name("layer", name)
    return cache_root() / "layers" / name


def has_layer(name: str | None) -> bool:
    """Tell whether a layer was saved; False for a plain folder too: such a layer was saved by a version that could
    lose links to folders.
    """
    return name is not None and layer_folder(name).is_symlink() and layer_folder(name).is_dir()


@dataclass(frozen=True)
class LabPaths:
    """One lab's own folder; everything in it goes with `lab down`."""

    name: str

    def __post_init__(self) -> None:
        """Check the name. Raises LabNameWrong: a name with a path in it would lead `lab down` to folders of others."""
        _require_name("lab", self.name)

    @property
    def root(self) -> Path:
        return state_root() / self.name

    @property
    def record(self) -> Path:
        return self.root / "lab.json"

    @property
    def key(self) -> Path:
        return self.root / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        return self.root / "known_hosts"

    @property
    def vault_password(self) -> Path:
        return self.root / "vault-password"

    def host(self, host: str) -> Path:
        return self.root / "hosts" / host
