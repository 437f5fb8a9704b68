"""Finds the file and line of a setting, for error messages only: re-reads the YAML that Ansible has read already."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .fleet import FleetHost

if TYPE_CHECKING:
    import yaml


def variable_files(root: Path, host: FleetHost | None) -> list[Path]:
    """Files that may set a variable of the host, the one that wins first."""
    base = root if root.is_dir() else root.parent
    places = [base / "host_vars" / host.name] if host else []
    places += [base / "group_vars" / group for group in reversed(host.groups if host else ("all",))]
    found: list[Path] = []
    for place in places:
        for suffix in (".yml", ".yaml", ".json", ""):
            named = Path(f"{place}{suffix}")
            if named.is_file():
                found.append(named)
        if place.is_dir():
            found += sorted((path for path in place.rglob("*") if path.is_file()), reverse=True)
    return found + (sorted(base.glob("*.yml")) if base.is_dir() else [])


def locate(root: Path, host: FleetHost | None, keys: tuple[str | int, ...]) -> str:
    """`FILE:LINE` of the deepest key that is written somewhere; the inventory's path where none is."""
    import yaml

    best: tuple[int, str] = (0, str(root))
    for path in variable_files(root, host):
        try:
            document = yaml.compose(path.read_text(), Loader=yaml.SafeLoader)
        except (yaml.YAMLError, UnicodeDecodeError):
            continue
        depth, line = _descend(document, keys)
        if depth > best[0]:
            best = (depth, f"{path}:{line}")
    return best[1]


def _descend(node: yaml.Node | None, keys: tuple[str | int, ...]) -> tuple[int, int]:
    """How many of `keys` are there, and the line of the last one."""
    import yaml

    depth, line = 0, 1
    for key in keys:
        following = None
        if isinstance(node, yaml.MappingNode):
            for name, value in node.value:
                if name.value == str(key):
                    following, line = value, name.start_mark.line + 1
        elif isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
            following = node.value[key]
            line = following.start_mark.line + 1
        if following is None:
            break
        node, depth = following, depth + 1
    return depth, line
