"""Declared versions to the hosts that store them, model by model: `models push`, and what `models verify --repair` lacks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from steelyard.errors import PushFailed, SourceMissing
from steelyard.models.declared import declared_weights
from steelyard.models.manifest import Manifest
from steelyard.models.push import Push, Pushed
from steelyard.models.signing import hold
from steelyard.models.source import Weights
from steelyard.models.source import weights as weights_of
from steelyard.models.state import in_place, refusal
from steelyard.modules.connectors.ask import ask
from steelyard.modules.operations.store import adopt, relay
from steelyard.problem import HostProblem
from steelyard_host.delta import Delta

if TYPE_CHECKING:
    from steelyard.engine.session import Session
    from steelyard.inventory.fleet import Fleet
    from steelyard.render.screen import Screen
    from steelyard.settings import HostVariables
    from steelyard.site import Model, Site

NO_HELPER = "the helper is not installed; `steelyard apply --deploy store` installs it"
MEGABIT = 125_000  # bytes
NOT_ON_THIS_MACHINE = Path("/nonexistent")  # a host has all of it, so the controller is never asked for a byte


def trusted_on(variables: HostVariables) -> tuple[str, ...]:
    """`model_store.trusted_keys` of a host."""
    return tuple(str(key) for key in (variables.get("model_store") or {}).get("trusted_keys", ()))


def _trusted(fleet: Fleet, site: Site, project: str) -> set[tuple[str, ...]]:
    """Sets of keys that hosts which store a model trust: a version has to satisfy each of them before a byte moves."""
    return {trusted_on(fleet.host(name).variables) for name in site.stored_on[project]}


def push_models(
    fleet: Fleet, opened: Session, site: Site, chosen: list[str], rate: int | None, screen: Screen, base: str | None = None
) -> dict[str, Pushed]:
    """Sources are read before the first host is talked to; one that is not on this machine is a host's, where one has the version.

    `rate`: megabits per second; `base`: source of the version that chunks may be told as a delta to. Raises SourceMissing,
    SourceRefused, SignatureWrong.
    """
    declared: dict[str, Weights | SourceMissing] = {}
    for project in chosen:
        try:
            declared[project] = declared_weights(project, site.models[project], *_trusted(fleet, site, project))
        except SourceMissing as error:
            declared[project] = error
    bases = {project: _base(project, site, base) for project in chosen} if base else {}
    connected: dict[str, Any] = {}
    states: dict[tuple[str, str], dict[str, Any] | None] = {}

    def look(host: Any) -> None:
        for project in chosen:
            if host.name in site.stored_on[project]:
                states[host.name, project] = ask(host, "store-state", site.model_root, project, site.models[project].version)
        connected[host.name] = host

    opened.each(look)
    pushes = {}
    for project, here in declared.items():
        hosts = {name: connected[name] for name in site.stored_on[project] if name in connected}
        found = {name: states[name, project] for name in hosts}
        model = site.models[project]
        place = Place(site.model_root, project, model.version)
        weights = (
            here
            if isinstance(here, Weights)
            else _held(here, place, model, hosts, found, _trusted(fleet, site, project), screen)
        )
        if model.shared is not None:
            pushes[project] = _adopted(place, model.shared, weights.manifest, hosts, found)
        else:
            pushes[project] = push_version(fleet, place, weights, hosts, found, rate, screen, bases.get(project))
    return pushes


class Place(NamedTuple):
    """A version in the stores of hosts."""

    root: str
    project: str
    version: str


def _base(project: str, site: Site, source: str) -> Weights:
    model = site.models[project]
    return weights_of(project, source, "--delta-from", model.code, model.shape)


def _held(
    missing: SourceMissing, place: Place, model: Model, hosts: dict[str, Any], states: dict[str, dict[str, Any] | None],
    trusted: set[tuple[str, ...]], screen: Screen,
) -> Weights:  # fmt: skip
    """The version as the first host has it that has it whole. Raises `missing` where none has."""
    for name, now in states.items():
        if now is not None and now["published"] and not now["altered"]:
            try:
                manifest = Manifest.of_json(ask(hosts[name], "store-manifest", *place) or {})
            except HostProblem:
                continue  # another one may answer
            for keys in trusted:
                hold(place.project, place.version, manifest.id, model.signature, keys, name)
            screen.note(
                f"{place.project}: its source is not on this machine; {name} has {place.version}, and the others take it from there"
            )
            return Weights(manifest, NOT_ON_THIS_MACHINE)
    raise missing


def push_version(
    fleet: Fleet, place: Place, weights: Weights, hosts: dict[str, Any], states: dict[str, dict[str, Any] | None],
    rate: int | None, screen: Screen, base: Weights | None = None,
) -> Pushed:  # fmt: skip
    """To connected hosts, by what their stores said. Those that have it take part too: others take from them."""
    (manifest, source), (root, project, version) = weights, place
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
    delta = Delta(manifest.as_json(), base.manifest.as_json(), base.folder) if base else None
    result = Push(manifest, source, where, racks, rate * MEGABIT if rate else None, screen.event, delta).run(talks)
    result.errors = {**errors, **result.errors}
    return result


def _adopted(
    place: Place, shared: str, manifest: Manifest, hosts: dict[str, Any], states: dict[str, dict[str, Any] | None]
) -> Pushed:
    """What lies on a NAS is compared on each host, all at once; nothing is sent."""
    from gevent.pool import Pool

    result = Pushed(manifest.id, manifest.size)

    def one(name: str) -> None:
        now = states.get(name)
        why = (
            NO_HELPER if now is None else refusal(manifest, now, f"{place.root}/{place.project}/{place.version}", copied=False)
        )
        if now is not None and why is None and not in_place(manifest, now):
            why = adopt(hosts[name], place.root, place.project, place.version, shared, manifest)
        if why is not None:
            result.errors[name] = PushFailed(where=name, why=why)
        else:
            result.published.append(name)
            result.received[name] = 0

    Pool(100).map(one, list(hosts))
    return result
