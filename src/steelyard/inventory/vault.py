"""Ansible's vault: the passwords that are given, what they open, and how a value is encrypted with one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from steelyard.errors import VaultPasswordMissing, VaultPasswordWrong

from .own_getaddrinfo import own_getaddrinfo
from .password import vault_identity

if TYPE_CHECKING:
    from ansible.parsing.dataloader import DataLoader
    from ansible.parsing.vault import VaultSecret

VaultSecrets = list[tuple[str, "VaultSecret"]]  # by vault id


def vault_secrets(path: Path, given: Path | None, loader: DataLoader) -> VaultSecrets:
    """The passwords by vault id: of the file that is given, and of ansible.cfg's list. Programs are run, as Ansible
    does. Raises VaultPasswordWrong.
    """
    from ansible import constants
    from ansible.errors import AnsibleError
    from ansible.parsing.vault import VaultSecret, get_file_vault_secret

    sources = [vault_identity(given)] if given is not None else []
    listed = [vault_identity(Path(str(entry))) for entry in constants.DEFAULT_VAULT_IDENTITY_LIST or []]
    sources += [entry for entry in listed if not entry[1].name.startswith("prompt")]
    secrets: VaultSecrets = []
    for label, file in sources:
        try:
            if os.access(file, os.X_OK) and file.is_file():
                secret = get_file_vault_secret(filename=str(file), vault_id=label, loader=loader)
                secret.load()
            else:
                secret = VaultSecret(file.expanduser().read_bytes().strip())
        except OSError as error:
            raise VaultPasswordWrong(where=str(path), given=f"{file} ({error.strerror})") from error
        except AnsibleError as error:
            raise VaultPasswordWrong(where=str(path), given=f"{file} ({' '.join(str(error).split())[:200]})") from error
        secrets.append((label, secret))
    return secrets


def set_vault_secrets(loader: DataLoader, secrets: VaultSecrets) -> None:
    from ansible.parsing.vault import VaultSecretsContext

    known = VaultSecretsContext.current(optional=True)
    if known is None:
        VaultSecretsContext.initialize(VaultSecretsContext(secrets=secrets))
    else:  # a second inventory in one process: the context is process-wide and cannot be replaced
        known.secrets = secrets
    loader.set_vault_secrets(secrets)


def vault_error(path: Path, given: Path | None) -> VaultPasswordMissing | VaultPasswordWrong:
    if given is None:
        return VaultPasswordMissing(where=str(path))
    return VaultPasswordWrong(where=str(path), given=str(given))


def of_vault(error: BaseException | None) -> bool:
    """Whether the vault is at the bottom of it: ansible wraps what happened, and not always in the same way."""
    return any("vault" in type(cause).__name__.lower() or "vault secrets" in str(cause) for cause in causes_of(error))


def causes_of(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what it comes from, down to the bottom, each once: ansible-core makes circles of them."""
    met = set[int]()
    while error is not None and id(error) not in met:
        met.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def is_closed(path: Path, secrets: VaultSecrets) -> bool:
    """Whether a file of hosts is encrypted whole and does not open: ansible then says only that no parser took it."""
    from ansible.parsing.vault import AnsibleVaultError, VaultLib, is_encrypted

    for file in (entry for entry in sorted(path.iterdir() if path.is_dir() else [path]) if entry.is_file()):
        content = file.read_bytes()
        if is_encrypted(content):
            try:
                VaultLib(secrets).decrypt(content)
            except AnsibleVaultError:
                return True
    return False


@lru_cache
def is_encrypted_whole(path: str) -> bool:
    """Whether a file is encrypted: then nothing about a value in it says by itself that it is secret."""
    from ansible.parsing.vault import is_encrypted_file

    try:
        with Path(path).open("rb") as file:
            return bool(is_encrypted_file(file))
    except OSError:
        return False


def encrypt_value(text: str, password_file: Path) -> str:
    """The text as `ansible-vault encrypt_string` would give it: a header line and lines of digits."""
    with own_getaddrinfo():
        from ansible.parsing.vault import VaultLib, VaultSecret

    secret = VaultSecret(password_file.read_bytes().strip())
    encrypted: bytes = VaultLib([("default", secret)]).encrypt(text.encode(), secret)
    return encrypted.decode()
