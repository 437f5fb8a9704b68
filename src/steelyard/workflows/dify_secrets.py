"""The secrets of a Dify of one's own, each encrypted by itself in a file of the inventory."""

from __future__ import annotations

import re
from pathlib import Path

from steelyard.dirs import write_private
from steelyard.inventory.ansible import encrypt_value

SECRETS_FILE = Path("group_vars/dify/dify_secrets.yml")  # of the inventory
HEAD = "# Written by `steelyard dify secrets`; encrypted with the inventory's vault.\n"
SECTION = "dify_secrets:\n"
ENTRY = re.compile(r"^  (\w+): (!vault \|\n(?:    .*\n?)+)", re.M)


def write_secrets(path: Path, password: Path, renew: frozenset[str], values: dict[str, str]) -> list[str]:
    """Write those of the secrets that the file lacks, and those to renew; the others keep their lines as they are.

    `password`: the file of the vault's password. Returns the names that were written.
    """
    text = path.read_text() if path.exists() else HEAD + SECTION
    entries = dict(ENTRY.findall(text))
    names = [name for name in values if name not in entries or name in renew]
    for name in names:
        lines = encrypt_value(values[name], password).splitlines()
        entries[name] = "!vault |\n" + "".join(f"    {line}\n" for line in lines)
    if names:
        before = text.split(SECTION, 1)[0] + SECTION
        write_private(path, (before + "".join(f"  {name}: {entry}" for name, entry in entries.items())).encode())
    return names
