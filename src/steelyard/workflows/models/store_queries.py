"""Questions of the commands about versions to an inventory and to the hosts' stores."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from steelyard.api.host_error import HostError
from steelyard.errors import ModelUnknown, VersionNotHere, nearest_key
from steelyard.inventory.known_names import note_versions
from steelyard.models.content.manifest import Manifest
from steelyard.models.sources.declared import declared_version
from steelyard.modules.connectors.helper_call import call_helper, helper_document
from steelyard_host.wire.store import StoredVersion, StoreListing

if TYPE_CHECKING:
    from pyinfra.api.host import Host

    from steelyard.engine.session import Session
    from steelyard.inventory.fleet import Fleet
    from steelyard.site.site import Site

# what the store of each host holds; None: the helper is not installed there
Stores = dict[str, StoreListing | None]


class HeldVersion(NamedTuple):
    """A version on the first host that holds it."""

    manifest: Manifest
    host: Host


def site_in(fleet: Fleet) -> Site:
    """The site that a fleet declares; its settings were checked when it was read."""
    from steelyard.site.resolve import site_of

    return site_of(fleet)


def chosen_models(inventory: Path, site: Site, models: list[str] | None) -> list[str]:
    """Declared models by name, or all of them. Raises ModelUnknown."""
    for name in models or ():
        if name not in site.models:
            nearest = nearest_key(name, list(site.models))
            raise ModelUnknown(where=str(inventory), model=name, nearest=nearest, allowed=", ".join(site.models))
    return list(models or site.models)


def listed(fleet: Fleet, session: Session) -> Stores:
    """The content of the stores of the session's hosts. A TAB offers these versions from now on."""
    root = site_in(fleet).model_root
    answers: Stores = {}

    def ask(host: Host) -> None:
        answers[host.name] = call_helper(host, StoreListing, "store-list", root)

    session.each(ask, "asking")
    rows = [row for store in answers.values() for row in versions_of(store)]
    are_all = len(answers) == len(fleet.hosts)
    note_versions(fleet.path, [(row.project, row.version) for row in rows], are_all=are_all)
    return {name: answers[name] for name in session.names if name in answers}


def versions_of(store: StoreListing | None) -> tuple[StoredVersion, ...]:
    """The versions of a store; none where the helper is not installed."""
    return store.versions if store is not None else ()


def holders(stores: Stores, model: str, version: str, where: str) -> list[str]:
    """Hosts that hold a version. Raises VersionNotHere."""
    rows = [(name, row) for name, store in stores.items() for row in versions_of(store) if row.project == model]
    names = [name for name, row in rows if row.version == version]
    if not names:
        others = ", ".join(sorted({row.version for _, row in rows})) or "none"
        raise VersionNotHere(where=where, model=model, version=version, found=others)
    return names


def held_version(session: Session, root: str, stores: Stores, model: str, version: str, where: str) -> HeldVersion:
    """The version on the first host that holds it. Raises VersionNotHere, HelperRefused."""
    name = holders(stores, model, version, where)[0]
    host = next(host for host in session.hosts if host.name == name)
    try:
        return HeldVersion(manifest_on(host, root, model, version), host)
    except HostError as failed:
        raise failed.error from failed


def manifest_on(host: Host, root: str, project: str, version: str) -> Manifest:
    """The manifest of a version that a host holds. Raises HostError."""
    return Manifest.of_json(helper_document(host, "store-manifest", root, project, version) or {})


def manifest_anywhere(session: Session, site: Site, stores: Stores, model: str, version: str, where: str) -> Manifest:
    """The manifest from a host that holds the version, else from its declared source. Raises VersionNotHere."""
    declared = site.models.get(model)
    try:
        return held_version(session, site.model_root, stores, model, version, where).manifest
    except VersionNotHere:
        if declared is None or declared.version != version:
            raise
        return declared_version(model, declared).manifest
