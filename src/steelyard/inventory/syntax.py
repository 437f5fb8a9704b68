"""Files of an inventory as text, before ansible-core reads them: its own complaint of a YAML file names no line, and of
a source of hosts not even the mistake.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

from steelyard.api.file_syntax import readable, require_sound, shown_line
from steelyard.errors import FileSyntaxWrong

from .layers import folder_of
from .sources import means_hosts
from .vault import VaultSecrets

VARIABLES = ("group_vars", "host_vars")
PARSED = (".yml", ".yaml", ".json")
OF_CONFIG = re.compile(
    r"Error reading config file \((?P<file>[^)]+)\): (?P<why>[^\n]+)(?:\n.*?line:? *(?P<line>\d+))?", re.DOTALL
)
ENCRYPTED = b"$ANSIBLE_VAULT;"


def require_sound_sources(layers: Collection[Path], sources: Iterable[Path], secrets: VaultSecrets) -> None:
    """See that the YAML and JSON files that hold hosts have no mistake; a file of another program may be what it likes.
    Raises FileSyntaxWrong.
    """
    for path in sources:
        if path.suffix in PARSED and path.is_file():
            try:
                _require_sound(path, secrets)
            except FileSyntaxWrong:
                if path in layers or means_hosts(path):
                    raise


def require_sound_variables(layers: Iterable[Path], names: Collection[str], secrets: VaultSecrets) -> None:
    """See that the files with variables of these groups and hosts have no mistake. Raises FileSyntaxWrong."""
    for base in dict.fromkeys(map(folder_of, layers)):
        for path in _variable_files(base, names):
            _require_sound(path, secrets)


def _require_sound(path: Path, secrets: VaultSecrets) -> None:
    """A file that is encrypted whole is checked where the vault opens, and nothing of it is shown."""
    try:
        content = path.read_bytes()
    except OSError:
        return  # the reader says what is wrong with it
    opened = _opened(content, secrets)
    if opened is not None:
        require_sound(path, readable(path, opened), secret=opened is not content)


def _opened(content: bytes, secrets: VaultSecrets) -> bytes | None:
    """The content, decrypted where it is encrypted; None where the vault does not open, which the reader tells."""
    if not content.startswith(ENCRYPTED):
        return content
    from ansible.parsing.vault import AnsibleVaultError, VaultLib

    try:
        return bytes(VaultLib(secrets).decrypt(content))
    except AnsibleVaultError:
        return None


def _variable_files(base: Path, names: Collection[str]) -> Iterator[Path]:
    for folder in VARIABLES:
        place = base / folder
        for entry in sorted(place.iterdir()) if place.is_dir() else ():
            name = entry.name if entry.is_dir() else entry.name.removesuffix(entry.suffix)
            if entry.name not in names and (entry.is_dir() or name not in names):
                continue
            for path in sorted(entry.rglob("*")) if entry.is_dir() else (entry,):
                is_hidden = any(part.startswith(".") for part in path.relative_to(place).parts)
                if path.is_file() and not is_hidden and path.suffix in ("", *PARSED):
                    yield path


def of_ini(layers: Collection[Path], sources: Iterable[Path], loader: Any) -> FileSyntaxWrong | None:
    """The mistake in a source of hosts that is no YAML, by the INI plugin's own words; None where it reads them all."""
    from ansible.errors import AnsibleError
    from ansible.inventory.data import InventoryData
    from ansible.plugins.loader import inventory_loader

    for path in sources:
        if path.suffix in PARSED or not path.is_file() or os.access(path, os.X_OK):
            continue
        if path not in layers and not means_hosts(path):
            continue
        try:
            inventory_loader.get("ini").parse(InventoryData(), loader, str(path))
        except AnsibleError as error:
            why = " ".join(str(error).split()).removeprefix("Failed to parse inventory: ")
            lines = _lines(path)
            opened = [number for number, line in enumerate(lines, 1) if line.startswith("[") and "]" not in line]
            if opened:
                why = "a group's bracket is not closed"
            # its sentence names no line any more, but what it says of one is that line
            said = [number for number, line in enumerate(lines, 1) if line.strip() and " ".join(line.split()) in why]
            mend = "write `[GROUP]`, `HOST key=value`, or `key=value` under `[GROUP:vars]`"
            return _wrong(path, next(iter(opened or said), 1), why, mend)
    return None


def of_config(error: BaseException) -> FileSyntaxWrong | None:
    """The mistake in an ansible.cfg, which ansible-core reads as soon as it is imported."""
    match = OF_CONFIG.search(str(error))
    if match is None:
        return None
    why = match["why"].strip().rstrip(".")
    return _wrong(Path(match["file"]), int(match["line"] or 1), why, "write `[defaults]`, and `key = value` below it")


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace").splitlines()
    except OSError:
        return []


def _wrong(path: Path, line: int, why: str, mend: str) -> FileSyntaxWrong:
    text = shown_line(_lines(path), line)
    mistake = why[:1].lower() + why[1:].rstrip(".")
    return FileSyntaxWrong(where=f"{path}:{line}", mistake=mistake[:200], column="1", text=text, mend=mend)
