"""Reads any inventory: Ansible's, or a pyinfra `.py`."""

from __future__ import annotations

import os
from pathlib import Path

from .fleet import Fleet


def read_fleet(path: Path, vault_password_file: Path | None = None) -> Fleet:
    """The fleet at `path`. Raises the errors of the two readers, all before any host is touched."""
    if path.suffix == ".py" and not os.access(path, os.X_OK):  # an executable one is a dynamic source of Ansible's
        from .pyinfra_file import read_pyinfra

        return read_pyinfra(path)
    from .cached import read_cached
    from .password import password_file

    return read_cached(path, password_file(path, vault_password_file), _read_ansible)


def _read_ansible(path: Path, vault_password_file: Path | None) -> Fleet:
    from .ansible import read_ansible

    return read_ansible(path, vault_password_file)
