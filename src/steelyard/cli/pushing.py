"""Declared versions to the hosts that store them, model by model: `models push`, and what `models verify --repair` lacks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from steelyard.errors import PushFailed
from steelyard.models.push import Push, Pushed
from steelyard.models.source import read_manifest, source_folder
from steelyard.models.state import in_place, refusal
from steelyard.modules.connectors.ask import ask
from steelyard.modules.operations.store import relay
from steelyard.problem import HostProblem

if TYPE_CHECKING:
    from steelyard.engine.session import Session
    from steelyard.inventory.fleet import Fleet
    from steelyard.models.manifest import Manifest
    from steelyard.render.screen import Screen
    from steelyard.site import Site

NO_HELPER = "the helper is not installed; `steelyard apply --deploy store` installs it"
MEGABIT = 125_000  # bytes


def push_models(
    fleet: Fleet, opened: Session, site: Site, chosen: list[str], rate: int | None, screen: Screen
) -> dict[str, Pushed]:
    """Sources are read before the first host is talked to. `rate`: megabits per second. Raises SourceMissing, SourceRefused."""
    manifests = {
        project: read_manifest(project, site.models[project].source, "models.yml", site.models[project].code)
        for project in chosen
    }
    connected: dict[str, Any] = {}
    states: dict[tuple[str, str], dict[str, Any] | None] = {}

    def look(host: Any) -> None:
        for project in chosen:
            if host.name in site.stored_on[project]:
                states[host.name, project] = ask(host, "store-state", site.model_root, project, site.models[project].version)
        connected[host.name] = host

    opened.each(look)
    pushes = {}
    for project, manifest in manifests.items():
        hosts = {name: connected[name] for name in site.stored_on[project] if name in connected}
        found = {name: states[name, project] for name in hosts}
        pushes[project] = _push(fleet, site, project, manifest, hosts, found, rate, screen)
    return pushes


def _push(
    fleet: Fleet, site: Site, project: str, manifest: Manifest, hosts: dict[str, Any],
    states: dict[str, dict[str, Any] | None], rate: int | None, screen: Screen,
) -> Pushed:  # fmt: skip
    """Hosts that have the version take part too: others take from them what we need not send."""
    version, root = site.models[project].version, site.model_root
    errors, talks = {}, {}
    lacking = False
    for name, now in states.items():
        why = NO_HELPER if now is None else refusal(manifest, now, f"{root}/{project}/{version}")
        if now is None or why is not None:
            errors[name] = PushFailed(where=name, why=why or NO_HELPER)
        else:
            lacking = lacking or not in_place(manifest, now)
    able = [name for name in hosts if name not in errors]
    if not lacking:
        return Pushed(manifest.id, manifest.size, published=able, received=dict.fromkeys(able, 0), errors={**errors})
    # whoever has most stands first: the origin sends what nobody has
    for name in sorted(able, key=lambda name: not in_place(manifest, states[name] or {})):
        try:
            talks[name] = hosts[name].connector.converse(relay(root, project, version))
        except HostProblem as problem:
            errors[name] = problem.error  # type: ignore[assignment]
    where = {name: fleet.host(name).address for name in talks}
    racks = {name: str(fleet.host(name).variables.get("rack") or "") for name in talks}
    source = source_folder(site.models[project].source)
    result = Push(manifest, source, where, racks, rate * MEGABIT if rate else None, screen.event).run(talks)
    result.errors = {**errors, **result.errors}
    return result
