"""Variants that engines make on a host, brought to those that are alike: `models cache`, `models shard`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from steelyard.api.host_error import HostError
from steelyard.api.settings import settings_from
from steelyard.events import Emit
from steelyard.models.distribution.variants import Shared, sharded_key, sharded_project
from steelyard.models.sources.declared import declared_version
from steelyard.models.sources.resolve import LocalVersion
from steelyard.modules.connectors.helper_call import call_helper, helper_document
from steelyard.roles.base.settings import Settings as BaseSettings
from steelyard.roles.vllm.settings import Settings as EngineSettings
from steelyard.serving.kinds import engine_folder
from steelyard_host.wire.store import CompileCacheState, VersionState

from .push_models import NOT_ON_THIS_MACHINE, PushTarget, VersionPath, VersionPush
from .store_queries import manifest_on

if TYPE_CHECKING:
    from pyinfra.api.host import Host

    from steelyard.engine.session import Session
    from steelyard.inventory.fleet import Fleet
    from steelyard.site.site import Site

MAKING_S = 4 * 3600  # that an engine may take to load and save a version


class VariantShare:
    """One variant for the hosts that are alike: made on the `first`, and taken from there by the others.

    What comes of it is written into the rows of `alike`, the first's among them.
    """

    def __init__(
        self, fleet: Fleet, path: VersionPath, hosts: Mapping[str, Host], first: Shared, alike: list[Shared], emit: Emit
    ) -> None:
        self.fleet, self.path, self.hosts, self.first, self.alike, self.emit = fleet, path, hosts, first, alike, emit

    def run(self, make: tuple[str, ...]) -> None:
        """Make the variant by the helper's command `make`, unless that is empty, and push it."""
        maker = self.hosts[self.first.host]
        try:
            if make:
                helper_document(maker, *make, seconds=MAKING_S)
            self._spread(maker)
        except HostError as failed:
            self.first.error = str(failed.error)

    def _spread(self, maker: Host) -> None:
        manifest = manifest_on(maker, *self.path)
        targets = {}
        for row in self.alike:
            host = self.hosts[row.host]
            targets[row.host] = PushTarget(host, call_helper(host, VersionState, "store-state", *self.path))
        push = VersionPush(self.fleet, self.path, targets, self.emit)
        pushed = push.send(LocalVersion(manifest, NOT_ON_THIS_MACHINE))
        for row in self.alike:
            error = pushed.errors.get(row.host)
            row.error = str(error) if error else None
            row.bytes, row.received = manifest.size, pushed.received.get(row.host, 0)
            row.origin = self.first.host if row.host in pushed.published else None


def share_compiled(fleet: Fleet, session: Session, site: Site, models: list[str], emit: Emit) -> list[Shared]:
    """Save on the first host of each key that has something, then push from there to the others of that key.

    Returns a row for every service of the models on a host that answers.
    """
    rows: list[Shared] = []
    hosts: dict[str, Host] = {}
    places: dict[tuple[str, str], tuple[str, ...]] = {}  # by host and service, what the helper's commands begin with

    def look(host: Host) -> None:
        hosts[host.name] = host
        default = settings_from(EngineSettings, host.data).version
        for service in site.services_on(host.name):
            if service.model in models and service.kind.own_loading:
                engine = engine_folder("vllm", service.engine_version(default))
                folder = f"{site.model_root}/{service.model}/{service.version}"
                place = places[host.name, service.name] = (site.model_root, service.name, engine, folder)
                state = call_helper(host, CompileCacheState, "compiled-state", *place)
                if state is not None:
                    origin = host.name if state.saved else None
                    rows.append(Shared(host.name, service.name, state.key, state.parts, state.bytes, origin))

    session.each(look)
    rows.sort(key=lambda row: (row.service, row.key, row.host))
    for service, key in dict.fromkeys((row.service, row.key) for row in rows):
        alike = [row for row in rows if (row.service, row.key) == (service, key)]
        first = next((row for row in alike if row.origin), None) or next((row for row in alike if row.bytes), None)
        if first is not None:
            path = VersionPath(site.model_root, f"_compiled/{service}", key)
            share = VariantShare(fleet, path, hosts, first, alike, emit)
            share.run(("compiled-save", *places[first.host, service]))
    return rows


def share_sharded(fleet: Fleet, session: Session, site: Site, models: list[str], emit: Emit) -> list[Shared]:
    """Push each model's sharded variant to its serving hosts, made on the first that answers where none has it.

    Returns a row for every service of the models on a host that answers.
    """
    hosts: dict[str, Host] = {}
    session.each(lambda host: hosts.__setitem__(host.name, host))
    rows: list[Shared] = []
    for project in models:
        services = [
            service
            for service in site.services
            if service.model == project and service.host in hosts and service.kind.own_loading
        ]
        if not services:
            continue
        serve, version = services[0].serve, site.models[project].version
        default = settings_from(EngineSettings, hosts[services[0].host].data).version
        engine = services[0].engine_version(default)
        manifest = declared_version(project, site.models[project]).manifest.id
        parts = {"manifest": manifest, "engine": engine, "ranks": serve.tensor_parallel_size}
        key = sharded_key(manifest, engine, serve.tensor_parallel_size, serve.options_by_name())
        path = VersionPath(site.model_root, sharded_project(project), key)
        alike = [Shared(service.host, service.name, key, parts) for service in services]
        held = [row for row in alike if _is_published(hosts[row.host], path)]
        first = (held or alike)[0]
        user = settings_from(BaseSettings, hosts[first.host].data).engine_user
        folder, ranks = engine_folder("vllm", engine), str(serve.tensor_parallel_size)
        make = ("store-shard", site.model_root, project, version, key, first.service, folder, ranks, user)
        rows += alike
        VariantShare(fleet, path, hosts, first, alike, emit).run(() if held else make)
    return rows


def _is_published(host: Host, path: VersionPath) -> bool:
    state = call_helper(host, VersionState, "store-state", *path)
    return state is not None and bool(state.published)
