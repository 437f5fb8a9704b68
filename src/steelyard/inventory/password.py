"""The file with the password of an inventory's vault values."""

from __future__ import annotations

import os
from pathlib import Path

from steelyard.dirs import layers_of

from .layers import folder_of

PASSWORD_BESIDE = ".vault-password"


def password_file(path: Path, given: Path | None) -> Path | None:
    """The option, else ANSIBLE_VAULT_PASSWORD_FILE, else `.vault-password` beside the inventory, else None.

    Of layers the last that has one.
    """
    if given is not None:
        return given
    named = os.environ.get("ANSIBLE_VAULT_PASSWORD_FILE")
    if named:
        return Path(named)
    beside = (folder_of(layer) / PASSWORD_BESIDE for layer in reversed(layers_of(path)))
    return next((file for file in beside if file.exists()), None)


def vault_identity(given: Path) -> tuple[str, Path]:
    """Vault id and file of `ID@FILE`, as Ansible writes both together; `default` where the whole is a file."""
    label, at, file = str(given).partition("@")
    return (label, Path(file)) if at and file and not given.exists() else ("default", given)
