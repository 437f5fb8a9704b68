"""Declared versions to the hosts that store them, model by model: `models push`, and what `models verify --repair` lacks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from steelyard.errors import ModelUnknown, PushFailed, VersionNotHere, nearest_key
from steelyard.models.declared import declared_weights
from steelyard.models.manifest import Manifest
from steelyard.models.push import Push, Pushed
from steelyard.models.state import in_place, refusal
from steelyard.modules.connectors.ask import ask
from steelyard.modules.operations.store import relay
from steelyard.problem import HostProblem

if TYPE_CHECKING:
    from steelyard.engine.session import Session
    from steelyard.inventory.fleet import Fleet
    from steelyard.models.source import Weights
    from steelyard.render.screen import Screen
    from steelyard.site import Site

NO_HELPER = "the helper is not installed; `steelyard apply --deploy store` installs it"
MEGABIT = 125_000  # bytes


def trusted_keys(fleet: Fleet) -> tuple[str, ...]:
    """Of the site: `model_store.trusted_keys` of any of its hosts."""
    found = [host.variables.get("model_store") or {} for host in fleet.hosts]
    return tuple(dict.fromkeys(str(key) for settings in found for key in settings.get("trusted_keys", ())))


def push_models(
    fleet: Fleet, opened: Session, site: Site, chosen: list[str], rate: int | None, screen: Screen
) -> dict[str, Pushed]:
    """Sources are read before the first host is talked to. `rate`: megabits per second. Raises SourceMissing, SourceRefused."""
    trusted = trusted_keys(fleet)
    declared = {project: declared_weights(project, site.models[project], trusted) for project in chosen}
    connected: dict[str, Any] = {}
    states: dict[tuple[str, str], dict[str, Any] | None] = {}

    def look(host: Any) -> None:
        for project in chosen:
            if host.name in site.stored_on[project]:
                states[host.name, project] = ask(host, "store-state", site.model_root, project, site.models[project].version)
        connected[host.name] = host

    opened.each(look)
    pushes = {}
    for project, weights in declared.items():
        hosts = {name: connected[name] for name in site.stored_on[project] if name in connected}
        found = {name: states[name, project] for name in hosts}
        pushes[project] = _push(fleet, site, project, weights, hosts, found, rate, screen)
    return pushes


def _push(
    fleet: Fleet, site: Site, project: str, weights: Weights, hosts: dict[str, Any],
    states: dict[str, dict[str, Any] | None], rate: int | None, screen: Screen,
) -> Pushed:  # fmt: skip
    """Hosts that have the version take part too: others take from them what we need not send."""
    (manifest, source), version, root = weights, site.models[project].version, site.model_root
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
    result = Push(manifest, source, where, racks, rate * MEGABIT if rate else None, screen.event).run(talks)
    result.errors = {**errors, **result.errors}
    return result


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


def manifest_anywhere(fleet: Fleet, opened: Session, model: str, version: str, where: str) -> Manifest:
    """From the first host that holds the version, else from its source where it is the declared one. Raises VersionNotHere."""
    site = site_in(fleet)
    found = listed(fleet, opened)
    try:
        name = holders(found, model, version, where)[0]
    except VersionNotHere:
        declared = site.models.get(model)
        if declared is None or declared.version != version:
            raise
        return declared_weights(model, declared, ()).manifest
    host = next(host for host in opened.hosts if host.name == name)
    return Manifest.of_json(ask(host, "store-manifest", site.model_root, model, version) or {})
