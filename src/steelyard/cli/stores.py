"""What the commands about versions ask of an inventory and of the hosts' stores."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from steelyard.errors import ModelUnknown, VersionNotHere, nearest_key
from steelyard.models.declared import declared_weights
from steelyard.models.manifest import Manifest
from steelyard.modules.connectors.ask import ask
from steelyard.problem import HostProblem

if TYPE_CHECKING:
    from steelyard.engine.session import Session
    from steelyard.inventory.fleet import Fleet
    from steelyard.site import Site


def site_in(fleet: Fleet) -> Site:
    from steelyard.site import site_of

    return site_of(fleet)


def chosen_models(inventory: Path, site: Site, models: list[str] | None) -> list[str]:
    """Declared models by name. Raises ModelUnknown."""
    for name in models or ():
        if name not in site.models:
            nearest = nearest_key(name, list(site.models))
            raise ModelUnknown(where=str(inventory), model=name, nearest=nearest, allowed=", ".join(site.models))
    return list(models or site.models)


def listed(fleet: Fleet, opened: Session) -> dict[str, dict[str, Any] | None]:
    """What each host's store holds; None where the helper is not installed."""
    root = site_in(fleet).model_root
    found: dict[str, dict[str, Any] | None] = {}
    opened.each(lambda host: found.__setitem__(host.name, ask(host, "store-list", root)))
    return {name: found[name] for name in opened.names if name in found}


def holders(found: dict[str, dict[str, Any] | None], model: str, version: str, where: str) -> list[str]:
    """Hosts that hold a version. Raises VersionNotHere."""
    rows = [
        (name, row)
        for name, answer in found.items()
        for row in (answer or {"versions": []})["versions"]
        if row["project"] == model
    ]
    names = [name for name, row in rows if row["version"] == version]
    if not names:
        there = ", ".join(sorted({row["version"] for _, row in rows})) or "none"
        raise VersionNotHere(where=where, model=model, version=version, found=there)
    return names


class Held(NamedTuple):
    """A version on the first host that holds it."""

    manifest: Manifest
    host: Any


def held_version(
    opened: Session, root: str, found: dict[str, dict[str, Any] | None], model: str, version: str, where: str
) -> Held:
    """`found` is what `listed` gave. Raises VersionNotHere, HelperRefused."""
    name = holders(found, model, version, where)[0]
    host = next(host for host in opened.hosts if host.name == name)
    try:
        return Held(Manifest.of_json(ask(host, "store-manifest", root, model, version) or {}), host)
    except HostProblem as problem:
        raise problem.error from problem


def manifest_anywhere(
    opened: Session, site: Site, found: dict[str, dict[str, Any] | None], model: str, version: str, where: str
) -> Manifest:
    """From a host that holds the version, else from its source where it is the declared one. Raises VersionNotHere."""
    declared = site.models.get(model)
    try:
        return held_version(opened, site.model_root, found, model, version, where).manifest
    except VersionNotHere:
        if declared is None or declared.version != version:
            raise
        return declared_weights(model, declared).manifest
