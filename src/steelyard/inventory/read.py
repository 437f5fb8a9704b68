"""Reads any inventory: Ansible's, or a pyinfra `.py`."""

from __future__ import annotations

import os
from pathlib import Path

from steelyard.dirs import layers_of
from steelyard.errors import UsageWrong

from .fleet import Fleet


def read_fleet(path: Path, vault_password_file: Path | None = None) -> Fleet:
    """The fleet at `path`, or of the layers that it stands for. Raises the errors of the two readers, all before any
    host is touched.
    """
    layers = layers_of(path)
    if any(_is_pyinfras(layer) for layer in layers):
        from .pyinfra_file import read_pyinfra

        if len(layers) > 1:
            why = f"-i {path}: an inventory of pyinfra's is read alone, and not in layers"
            raise UsageWrong(where="steelyard inventory", why=why)
        return read_pyinfra(path)
    from .fleet_cache import read_cached
    from .password import password_file

    return read_cached(path, password_file(path, vault_password_file), _read_ansible)


def _is_pyinfras(path: Path) -> bool:
    return path.suffix == ".py" and not os.access(path, os.X_OK)  # an executable one is a dynamic source of Ansible's


def _read_ansible(path: Path, vault_password_file: Path | None) -> Fleet:
    from .ansible import read_ansible

    return read_ansible(path, vault_password_file)
