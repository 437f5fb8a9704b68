"""The keys of a new site: random, made on this machine, and written as vault values only."""

from __future__ import annotations

import re
import secrets
from pathlib import Path

from .password import PASSWORD_BESIDE
from .placeholders import MARK

KEY = re.compile(rf"^( *)([\w-]+): {MARK}-key-of-([\w-]+)([ \t]*#.*)?$", re.MULTILINE)


def fill_in_keys(folder: Path) -> Path:
    """Put a vault password beside the inventory, and a key of its own in place of each that is to be filled in. Returns
    its file.
    """
    password = folder / PASSWORD_BESIDE
    password.touch(mode=0o600)
    password.write_text(secrets.token_hex(24) + "\n")
    for path in sorted(folder.rglob("*.yml")):
        text = path.read_text()
        filled = KEY.sub(lambda match: _vaulted(match, password), text)
        if filled != text:
            path.write_text(filled)
    return password


def _vaulted(match: re.Match[str], password: Path) -> str:
    """The line with its comment before it, because a block of text has no room for one."""
    from .ansible import encrypt_value

    indent, key, client, comment = match.groups()
    note = f"{indent}{comment.strip()}\n" if comment else ""
    lines = encrypt_value(f"sk-{client}-{secrets.token_hex(24)}", password).splitlines()
    return f"{note}{indent}{key}: !vault |\n" + "\n".join(f"{indent}  {line}" for line in lines)
