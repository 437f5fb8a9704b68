"""What engines make on a host, to those that are alike: `models cache`, `models shard`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from steelyard.models.artefacts import Shared, sharded_key, sharded_project
from steelyard.models.declared import declared_weights
from steelyard.models.manifest import Manifest
from steelyard.models.source import Weights
from steelyard.modules.connectors.ask import ask
from steelyard.problem import HostProblem
from steelyard.serving.kinds import engine_folder
from steelyard.settings import role_settings, settings_from

from .pushing import NOT_ON_THIS_MACHINE, Place, push_version

if TYPE_CHECKING:
    from steelyard.engine.session import Session
    from steelyard.inventory.fleet import Fleet
    from steelyard.render.screen import Screen
    from steelyard.site import Site

MAKING_S = 4 * 3600  # that an engine may take to load and save a version


def share_compiled(fleet: Fleet, opened: Session, site: Site, chosen: list[str], screen: Screen) -> list[Shared]:
    """Save on the first host of each key that has something, then push from there to the others of that key."""
    rows: list[Shared] = []
    hosts: dict[str, Any] = {}
    words: dict[tuple[str, str], tuple[str, ...]] = {}
    model: Any = role_settings()["vllm"]

    def look(host: Any) -> None:
        hosts[host.name] = host
        default = settings_from(model, host.data).version
        for service in site.services_on(host.name):
            if service.model in chosen and service.kind.own_loading:
                engine = engine_folder("vllm", service.engine_version(default))
                folder = f"{site.model_root}/{service.model}/{service.version}"
                words[host.name, service.name] = (site.model_root, service.name, engine, folder)
                now = ask(host, "compiled-state", *words[host.name, service.name])
                if now is not None:
                    origin = host.name if now["saved"] else None
                    rows.append(Shared(host.name, service.name, now["key"], now["parts"], now["bytes"], origin))

    opened.each(look)
    rows.sort(key=lambda row: (row.service, row.key, row.host))
    for service, key in dict.fromkeys((row.service, row.key) for row in rows):
        alike = [row for row in rows if (row.service, row.key) == (service, key)]
        first = next((row for row in alike if row.origin), None) or next((row for row in alike if row.bytes), None)
        if first is not None:
            words_of = ("compiled-save", *words[first.host, service])
            _made_and_spread(fleet, Place(site.model_root, f"_compiled/{service}", key), hosts, first, alike, words_of, screen)
    return rows


def share_sharded(fleet: Fleet, opened: Session, site: Site, chosen: list[str], screen: Screen) -> list[Shared]:
    """Per model: the variant of its serving hosts, made on the first that answers, or where it is already, then pushed."""
    hosts: dict[str, Any] = {}
    opened.each(lambda host: hosts.__setitem__(host.name, host))
    vllm: Any = role_settings()["vllm"]
    base: Any = role_settings()["base"]
    rows: list[Shared] = []
    for project in chosen:
        services = [
            service
            for service in site.services
            if service.model == project and service.host in hosts and service.kind.own_loading
        ]
        if not services:
            continue
        serve, version = services[0].serve, site.models[project].version
        engine = services[0].engine_version(settings_from(vllm, hosts[services[0].host].data).version)
        manifest = declared_weights(project, site.models[project]).manifest.id
        parts = {"manifest": manifest, "engine": engine, "ranks": serve.tensor_parallel_size}
        key = sharded_key(manifest, engine, serve.tensor_parallel_size, serve.options)
        place = Place(site.model_root, sharded_project(project), key)
        alike = [Shared(service.host, service.name, key, parts) for service in services]
        held = [row for row in alike if (ask(hosts[row.host], "store-state", *place) or {}).get("published")]
        first = (held or alike)[0]
        user = settings_from(base, hosts[first.host].data).engine_user
        folder, ranks = engine_folder("vllm", engine), str(serve.tensor_parallel_size)
        words = ("store-shard", site.model_root, project, version, key, first.service, folder, ranks, user)
        rows += alike
        _made_and_spread(fleet, place, hosts, first, alike, () if held else words, screen)
    return rows


def _made_and_spread(
    fleet: Fleet,
    place: Place,
    hosts: dict[str, Any],
    first: Shared,
    alike: list[Shared],
    words: tuple[str, ...],
    screen: Screen,
) -> None:
    """The first host makes it, by the helper's `words` where it has not; the others take it from there."""
    try:
        if words:
            ask(hosts[first.host], *words, seconds=MAKING_S)
        _spread(fleet, place, hosts, first, alike, screen)
    except HostProblem as problem:
        first.error = str(problem.error)


def _spread(fleet: Fleet, place: Place, hosts: dict[str, Any], first: Shared, alike: list[Shared], screen: Screen) -> None:
    manifest = Manifest.of_json(ask(hosts[first.host], "store-manifest", *place) or {})
    states = {row.host: ask(hosts[row.host], "store-state", *place) for row in alike}
    mine = {row.host: hosts[row.host] for row in alike}
    pushed = push_version(fleet, place, Weights(manifest, NOT_ON_THIS_MACHINE), mine, states, None, screen)
    for row in alike:
        error = pushed.errors.get(row.host)
        row.error = str(error) if error else None
        row.bytes, row.received = manifest.size, pushed.received.get(row.host, 0)
        row.origin = first.host if row.host in pushed.published else None
