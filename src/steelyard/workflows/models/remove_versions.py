"""Versions away from hosts: planned by what their stores hold, carried out when somebody has agreed."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from steelyard.errors import ModelDeclared, VersionNotHere
from steelyard.models.retention import removable
from steelyard.modules.connectors.helper_call import call_helper
from steelyard_host.wire.store import Gone, Stays

from .store_queries import Stores, listed, versions_of

if TYPE_CHECKING:
    from pyinfra.api.host import Host

    from steelyard.engine.session import Session
    from steelyard.inventory.fleet import Fleet
    from steelyard.site.site import Site

REMOVE_S = 3600
TOO_OLD = "its helper does not remove versions; `steelyard apply` brings it up to date"


class Named(NamedTuple):
    """A model and one of its versions, as a person named them; None: all versions."""

    model: str
    version: str | None


class Removal:
    """Versions that go, by host: `planned` and then `removed` are PROJECT@VERSION words.

    `stays`: sentences on what was to go and does not; `tidied`: half received versions that were given up. `named`
    goes alone; without it all goes that nobody needs, but the `keep` newest of each model. Raises ModelDeclared and
    VersionNotHere, with `where` it was asked, before anything is removed.
    """

    def __init__(self, fleet: Fleet, session: Session, site: Site, named: Named | None, keep: int, where: str) -> None:
        self.session, self.root, self.named = session, site.model_root, named
        self.planned: dict[str, list[str]] = {}
        self.stays: dict[str, list[str]] = {}
        self.removed: dict[str, list[str]] = {}
        self.tidied: dict[str, list[str]] = {}
        if named is not None:
            _refuse_declared(site, named)
        self._declared = {project: model.version for project, model in site.models.items()}
        stores = listed(fleet, session)
        if named is not None and not session.errors:
            _require_held(stores, named, where)
        for host, store in stores.items():
            self.planned[host], self.stays[host] = removable(versions_of(store), self._declared, named, keep)

    def carry_out(self) -> None:
        """Remove what is planned; a host may still keep a version, and says why."""
        self.session.each(self._remove, "removing from")

    def _remove(self, host: Host) -> None:
        versions = self.planned.get(host.name, [])
        if versions:
            flags = ("--undeclared",) if self.named is not None and self.named.model not in self._declared else ()
            answer = call_helper(host, Stays, "store-forget", *flags, self.root, *versions, seconds=REMOVE_S)
            if answer is None:
                answer = Stays(tuple(f"{version} is there: {TOO_OLD}" for version in versions))
            self.stays[host.name] += answer.stays
            kept = tuple(sentence.split(" ")[0] for sentence in answer.stays)
            self.removed[host.name] = [version for version in versions if version not in kept]
        if self.named is None:
            answered = call_helper(host, Gone, "store-tidy", self.root) or Gone(())
            self.tidied[host.name] = list(answered.gone)


def _refuse_declared(site: Site, named: Named) -> None:
    """Raises ModelDeclared: what is declared would be brought back by the next apply."""
    model = site.models.get(named.model)
    if model is not None and named.version in (None, model.version):
        where = site.written("models", named.model)
        raise ModelDeclared(where=where, model=named.model, version=model.version)


def _require_held(stores: Stores, named: Named, where: str) -> None:
    """Raises VersionNotHere."""
    rows = [row for store in stores.values() for row in versions_of(store) if row.project == named.model]
    if not any(named.version in (None, row.version) for row in rows):
        others = ", ".join(sorted({row.version for row in rows})) or "none"
        raise VersionNotHere(where=where, model=named.model, version=named.version or "at all", found=others)
