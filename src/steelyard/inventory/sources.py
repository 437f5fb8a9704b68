"""ansible-core's manager of inventory sources, with what lies beside hosts in real folders: files of other programs.

Ansible passes over a file of a folder that none of its plugins takes, and warns. A file with hosts that has a slip
would be passed over too, and its hosts with it: so one that means to hold hosts is refused, and the others are named in
one line.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

from steelyard.errors import InventoryUnreadable

LONGEST = 400  # letters of what a plugin says
NOT_SOURCES = ("drift-exceptions.yml",)  # files of ours that lie beside the sources
PARTS_OF_A_GROUP = frozenset(["hosts", "children", "vars"])
ENCRYPTED = b"$ANSIBLE_VAULT;"
REASON = re.compile(r"Failed to parse inventory with '([^']+)' plugin: ([^\n]+)")
TEXTS_OF_HOSTS = ("hosts", "inventory")  # names of INI files


def manager_of(loader: Any, layers: Iterable[Path]) -> Any:
    """Ansible's InventoryManager of files and folders, the last of which holds. Raises AnsibleError and
    InventoryUnreadable.
    """
    from ansible.inventory.manager import InventoryManager

    class Manager(InventoryManager):  # type: ignore[misc]
        def parse_source(self, source: str, cache: bool = False) -> bool:
            path = Path(source)
            if path.is_dir():
                return bool(super().parse_source(source, cache=cache))
            if path not in given and is_beside(path):
                return False
            with redirect_stderr(StringIO()) as said:  # where reading fails, its warnings say what our error says
                parsed = bool(super().parse_source(source, cache=cache))
            if parsed:
                print(said.getvalue(), end="", file=sys.stderr)
            elif path in given or means_hosts(path):
                why = _first_reason(said.getvalue()) or "no plugin of Ansible reads it"
                raise InventoryUnreadable(where=source, why=why[:LONGEST])
            else:
                print(f"{source}: no inventory, and passed over as Ansible does", file=sys.stderr)
            return parsed

    given = [layer.absolute() for layer in layers]
    return Manager(loader=loader, sources=[str(layer) for layer in given])


def _first_reason(said: str) -> str:
    """What the first of Ansible's plugins that tried a source says of it, in its warnings."""
    match = REASON.search(said)
    return f"plugin `{match[1]}` says: {match[2].strip().rstrip('.')}" if match else ""


def files_of(source: Path) -> list[Path]:
    """The files that Ansible tries to take hosts from: the one that is given, or those of the folder and of folders in
    it.
    """
    from ansible.inventory.manager import IGNORED

    if not source.is_dir():
        return [source]
    entries = (entry for entry in sorted(source.iterdir()) if not IGNORED.search(os.fsencode(entry.name)))
    return [file for entry in entries if not is_beside(entry) for file in files_of(entry)]


def is_beside(path: Path) -> bool:
    """Whether a file of a folder is none of Ansible's: ours, or Python that is no dynamic source."""
    return path.name in NOT_SOURCES or (path.suffix == ".py" and not os.access(path, os.X_OK))


def means_hosts(path: Path) -> bool:
    """Whether a file that no plugin takes was meant to hold hosts: executable, encrypted, named so, broken as YAML, or
    with groups in it.
    """
    import yaml

    try:
        content = path.read_bytes()
    except OSError:
        return True
    if os.access(path, os.X_OK) or content.startswith(ENCRYPTED):
        return True
    if path.suffix == ".ini" or path.name.startswith(TEXTS_OF_HOSTS):
        return True
    if path.suffix not in (".yml", ".yaml", ".json"):
        return False
    try:
        documents = list(yaml.compose_all(content, Loader=yaml.SafeLoader))
    except (yaml.YAMLError, UnicodeDecodeError):
        return True
    groups = documents[0].value if documents and isinstance(documents[0], yaml.MappingNode) else []
    return any(
        key.value in ("all", "plugin")
        or (isinstance(value, yaml.MappingNode) and {part.value for part, _ in value.value} & PARTS_OF_A_GROUP)
        for key, value in groups
    )
