"""Which file holds the password of an inventory's vault values."""

from __future__ import annotations

import os
from pathlib import Path

PASSWORD_BESIDE = ".vault-password"


def password_file(path: Path, given: Path | None) -> Path | None:
    """The option, else ANSIBLE_VAULT_PASSWORD_FILE, else `.vault-password` beside the inventory, else None."""
    if given is not None:
        return given
    named = os.environ.get("ANSIBLE_VAULT_PASSWORD_FILE")
    beside = (path if path.is_dir() else path.parent) / PASSWORD_BESIDE
    return Path(named) if named else beside if beside.exists() else None
