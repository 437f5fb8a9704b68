"""Finds the file and line of a setting, for error messages only: re-reads the YAML that Ansible has read already."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from steelyard.dirs import layers_of

from .fleet import FleetHost
from .layers import folder_of
from .names import spellings

if TYPE_CHECKING:
    import yaml


YAML = (".yml", ".yaml")


def variable_files(root: Path, host: FleetHost | None) -> list[Path]:
    """Files that may set a variable of the host, the one that wins first."""
    files: list[Path] = []
    for place in variable_places(root, host):
        taken = [path for path in named(place) if path.exists()][:1]
        for path in taken:
            files += (
                sorted((inner for inner in path.rglob("*") if inner.is_file()), reverse=True)
                if path.is_dir()
                else [path]
            )
    return files + sources_of(root)


def named(place: Path) -> list[Path]:
    """Return the paths that Ansible tries for the name of a host or a group, in its order; it takes the first that
    is there.
    """
    return [Path(f"{place}{suffix}") for suffix in ("", ".yml", ".yaml", ".json")]


def variable_places(root: Path, host: FleetHost | None) -> list[Path]:
    """Names, without an ending, under which variables of the host may lie; the one that wins first."""
    bases = [folder_of(layer) for layer in reversed(layers_of(root))]
    narrow = [group for group in reversed(host.groups) if group != "all"] if host else []
    return [
        *(base / "host_vars" / host.name for base in bases if host),
        *(base / "group_vars" / group for base in bases for group in narrow),
        *(base / "group_vars" / "all" for base in bases),
    ]


def sources_of(root: Path) -> list[Path]:
    """YAML files that may hold hosts: those of a folder, or the one that is the inventory; its neighbours are other
    inventories. Of layers the one that holds first.
    """
    return [path for layer in reversed(layers_of(root)) for path in _sources(layer)]


def _sources(layer: Path) -> list[Path]:
    if not layer.is_dir():
        return [layer] if layer.suffix in YAML and layer.is_file() else []
    return sorted(path for path in layer.iterdir() if path.suffix in YAML and path.is_file())


def locate(root: Path, host: FleetHost | None, keys: tuple[str | int, ...]) -> str:
    """`FILE:LINE` of the deepest key that is written somewhere; the inventory's path where none is."""
    import yaml

    best: tuple[int, str] = (0, str(root))
    sources = sources_of(root)
    for path in variable_files(root, host):
        try:
            document = yaml.compose(path.read_text(), Loader=yaml.SafeLoader)
        except (yaml.YAMLError, UnicodeDecodeError):
            continue
        for node in scopes(document, host, path in sources):
            for spelling in spellings(keys):
                depth, line = _descend(node, spelling)
                depth -= len(spelling) - len(keys)
                if depth > best[0]:
                    best = (depth, f"{path}:{line}")
    return best[1]


def scopes(node: yaml.Node | None, host: FleetHost | None, is_source: bool) -> Iterator[yaml.Node | None]:
    """Return the places of a file that say variables: its top, or, in a source of hosts, at the host and in the
    `vars` of its groups, the narrowest first.
    """
    import yaml

    if is_source and isinstance(node, yaml.MappingNode):
        groups = (host.groups, host.name) if host else (("all",), None)
        yield from reversed(list(_group_scopes(node, *groups)))
    yield node


def _group_scopes(groups: yaml.Node, names: Sequence[str], host: str | None) -> Iterator[yaml.Node]:
    for name, entry in _pairs(groups):
        if name in names:
            parts = dict(_pairs(entry))
            if "vars" in parts:
                yield parts["vars"]
            if "children" in parts:
                yield from _group_scopes(parts["children"], names, host)
            yield from (node for other, node in _pairs(parts.get("hosts")) if other == host)


def _pairs(node: yaml.Node | None) -> list[tuple[str, yaml.Node]]:
    import yaml

    return [(str(key.value), value) for key, value in node.value] if isinstance(node, yaml.MappingNode) else []


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
