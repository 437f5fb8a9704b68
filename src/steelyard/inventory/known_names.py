"""Names of an inventory for a TAB, kept beside what was read of it: hosts, groups, aliases, models with their versions.
No secret.

They are offered only while the inventory's files are those they were read from. Versions that hosts were seen to hold
are noted whenever they are listed; an old one among them does no harm.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from steelyard.dirs import write_private

from .digest import kept_place, source_digest

if TYPE_CHECKING:
    from .fleet import Fleet, Keys


class KnownNames(NamedTuple):
    """Names of an inventory, and of labs. `aliases` to models, `models` to their versions, `labs` to their hosts."""

    hosts: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    aliases: dict[str, str] = {}
    models: dict[str, list[str]] = {}
    labs: dict[str, list[str]] = {}


def note_fleet(fleet: Fleet, digest: str) -> None:
    """Keep the names of a fleet that was read, unless they are kept already."""
    path = _names_path(fleet.path)
    with suppress(OSError):
        if path.exists() and path.read_text().partition("\n")[0] == digest:
            return
        write_private(path, f"{digest}\n{json.dumps(_names_of(fleet))}".encode())


def _names_of(fleet: Fleet) -> dict[str, Any]:
    """The names of a fleet that are no secret, for somebody may have encrypted one."""
    declared = fleet.hosts[0].variables.get("models") if fleet.hosts else None
    models = _open_models(declared, fleet.hosts[0].hidden) if isinstance(declared, dict) else {}
    secret = fleet.secrets
    return {
        "hosts": [host.name for host in fleet.hosts if host.name not in secret],
        "groups": [group for group in fleet.groups if group not in secret],
        "models": {
            name: [str(model["version"])] if "version" in model and str(model["version"]) not in secret else []
            for name, model in models.items()
            if name not in secret
        },
        "aliases": {
            str(model["alias"]): name
            for name, model in models.items()
            if model.get("alias") and str(model["alias"]) not in secret
        },
    }


def _open_models(declared: dict[Any, Any], hidden: frozenset[Keys]) -> dict[str, dict[str, Any]]:
    """The models without what came out of a vault. One of which everything did is left out: its name did too."""
    models = {}
    for name, model in declared.items():
        if isinstance(model, dict):
            kept = {
                key: value
                for key, value in model.items()
                if not any(path[:3] == ("models", name, key) for path in hidden)
            }
            if kept or not model:
                models[str(name)] = kept
    return models


def note_versions(inventory: Path, listed: Iterable[tuple[str, str]], *, are_all: bool) -> None:
    """Keep which versions of which known models hosts hold: these alone, or, where not every host was asked, these
    too.
    """
    versions = {} if are_all else _listed_versions(inventory)
    known = known_names(inventory).models
    for model, version in sorted(set(listed)):
        if model in known and version not in versions.setdefault(model, []):
            versions[model].append(version)
    with suppress(OSError):
        write_private(_versions_path(inventory), json.dumps(versions).encode())


def _listed_versions(inventory: Path) -> dict[str, list[str]]:
    try:
        versions: dict[str, list[str]] = json.loads(_versions_path(inventory).read_text())
    except (OSError, ValueError):
        return {}
    return versions


def known_names(inventory: Path) -> KnownNames:
    """The names kept of an inventory; none where it was never read, or is not what it was."""
    # RuntimeError: a link to itself, or no home
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError):
        digest, _, body = _names_path(inventory).read_text().partition("\n")
        if digest != source_digest(inventory):
            return KnownNames()
        stored = json.loads(body)
        models: dict[str, list[str]] = stored["models"]
        for model, versions in _listed_versions(inventory).items():
            if model in models:
                models[model] += [version for version in versions if version not in models[model]]
        return KnownNames(tuple(stored["hosts"]), tuple(stored["groups"]), stored["aliases"], models)
    return KnownNames()


def known_labs(folder: Path) -> dict[str, list[str]]:
    """Labs of this machine and their hosts; none for who may not look."""
    with suppress(OSError):
        return {
            lab.name: sorted(host.name for host in (lab / "hosts").iterdir())
            for lab in sorted(folder.iterdir())
            if lab.is_dir()
        }
    return {}


def _names_path(inventory: Path) -> Path:
    return kept_place(inventory).with_suffix(".names")


def _versions_path(inventory: Path) -> Path:
    return kept_place(inventory).with_suffix(".versions")
