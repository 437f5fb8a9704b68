"""Declared versions to the hosts that store them, model by model: `models push`, and the repair of `models verify`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from steelyard.api.host_error import HostError
from steelyard.errors import CopyUnproven, PushFailed, SourceMissing, SteelyardError
from steelyard.events import BytesMoved, Emit, Step
from steelyard.models.content.manifest import Manifest
from steelyard.models.content.signing import verify_signature
from steelyard.models.distribution.push import Push, Pushed
from steelyard.models.distribution.talk import Talk
from steelyard.models.distribution.target_state import in_place, refusal
from steelyard.models.sources.declared import declared_version
from steelyard.models.sources.known_manifests import known_manifest, remember_manifest
from steelyard.models.sources.resolve import LocalVersion, OnProgress, resolve_version
from steelyard.modules.connectors.connection import connection_of
from steelyard.modules.connectors.helper_call import call_helper
from steelyard.modules.operations.store import adopt, relay
from steelyard_host.store.delta import Delta
from steelyard_host.store.layout import ManifestDocument
from steelyard_host.wire.store import VersionState

from .store_queries import manifest_on

if TYPE_CHECKING:
    from pyinfra.api.host import Host

    from steelyard.api.settings import HostVariables
    from steelyard.engine.session import Session
    from steelyard.inventory.fleet import Fleet
    from steelyard.site.schema import Model
    from steelyard.site.site import Site

NO_HELPER = "the helper is not installed; `steelyard apply --deploy store` installs it"
MEGABIT = 125_000  # bytes
AT_ONCE = 100  # hosts that compare a shared folder side by side
NOT_ON_THIS_MACHINE = Path("/nonexistent")  # a host has all of it, so the controller is never asked for a byte


def trusted_on(variables: HostVariables) -> tuple[str, ...]:
    """The keys that a host trusts, by its `model_store.trusted_keys`."""
    return tuple(str(key) for key in (variables.get("model_store") or {}).get("trusted_keys", ()))


def _trusted(fleet: Fleet, site: Site, project: str) -> set[tuple[str, ...]]:
    """Sets of keys that hosts which store a model trust: a version has to satisfy each of them before a byte moves."""
    return {trusted_on(fleet.host(name).variables) for name in site.stored_on[project]}


class VersionPath(NamedTuple):
    """A version in the stores of hosts."""

    root: str
    project: str
    version: str

    @property
    def folder(self) -> str:
        """The folder that the version has, or gets, on every host."""
        return f"{self.root}/{self.project}/{self.version}"


class PushTarget(NamedTuple):
    """A connected host and what its store said of the version; None where it has no helper."""

    host: Host
    state: VersionState | None


Targets = Mapping[str, PushTarget]  # by host


def push_models(
    fleet: Fleet,
    session: Session,
    site: Site,
    models: list[str],
    rate: int | None,
    emit: Emit,
    base: str | None = None,
) -> dict[str, Pushed]:
    """Push the models' declared versions to the hosts of the session that store them; what came of it, by model.

    Sources are read before the first host is talked to; for one that is not on this machine a host stands in that has
    the version. `rate`: megabits per second; `base`: source of the version that chunks may be told as a delta to.
    Raises SourceMissing, SourceRefused, SignatureWrong.
    """
    declared: dict[str, LocalVersion | SourceMissing] = {}
    for project in models:
        trusted, on_progress, model = _trusted(fleet, site, project), _hashing(project, emit), site.models[project]
        try:
            read = declared_version(project, model, *trusted, on_progress=on_progress)
            remember_manifest(project, model.version, model.source, read.manifest.id)
            declared[project] = read
        except SourceMissing as error:
            declared[project] = error
    bases = {project: _base(project, site, base) for project in models} if base else {}
    all_targets = _targets(session, site, models)
    pushes = {}
    for project, source in declared.items():
        model, targets = site.models[project], all_targets[project]
        push = VersionPush(fleet, VersionPath(site.model_root, project, model.version), targets, emit)
        if isinstance(source, SourceMissing):
            local = _held_by_a_host(source, push.path, model, targets, _trusted(fleet, site, project), emit)
        else:
            local = source
        if model.shared is not None:
            pushes[project] = push.adopt(model.shared, local.manifest)
        else:
            pushes[project] = push.send(local, rate, bases.get(project))
    return pushes


def _targets(session: Session, site: Site, models: list[str]) -> dict[str, dict[str, PushTarget]]:
    """The hosts that store each model and answer, by model, in the order of the site."""
    states: dict[tuple[str, str], PushTarget] = {}
    is_through: set[str] = set()

    def look(host: Host) -> None:
        for project in models:
            if host.name in site.stored_on[project]:
                argv = ("store-state", site.model_root, project, site.models[project].version)
                states[host.name, project] = PushTarget(host, call_helper(host, VersionState, *argv))
        is_through.add(host.name)

    session.each(look)
    return {
        project: {name: states[name, project] for name in site.stored_on[project] if name in is_through}
        for project in models
    }


def _hashing(project: str, emit: Emit) -> OnProgress:
    """A function that tells how far a version is read: the first time it takes minutes."""
    return lambda done, total: emit(BytesMoved("this machine", f"{project} hashed", done, total))


def _base(project: str, site: Site, source: str) -> LocalVersion:
    model = site.models[project]
    return resolve_version(project, source, "--delta-from", model.code, model.conversion)


def _held_by_a_host(
    missing: SourceMissing,
    path: VersionPath,
    model: Model,
    targets: Targets,
    trusted: set[tuple[str, ...]],
    emit: Emit,
) -> LocalVersion:
    """The version as the first host has it that has it whole, and that can be told from somebody else's.

    Raises `missing` where none has it, SignatureWrong, CopyUnproven.
    """
    doubt: CopyUnproven | None = None
    for name, target in targets.items():
        if target.state is None or not target.state.published or target.state.altered:
            continue
        try:
            manifest = manifest_on(target.host, *path)
        except HostError:
            continue  # another one may answer
        for keys in trusted:
            verify_signature(path.project, path.version, manifest.id, model.signature, keys, name)
        why = unproven_copy(manifest.id, path, model, trusted)
        if why is not None:
            doubt = CopyUnproven(
                where=name, model=path.project, version=path.version, host=name, why=why, source=model.source
            )
            continue
        emit(
            Step(
                f"{path.project}: its source is not on this machine; {name} has {path.version}, and the "
                f"others take it from there"
            )
        )
        return LocalVersion(manifest, NOT_ON_THIS_MACHINE)
    raise doubt or missing


def unproven_copy(manifest_id: str, path: VersionPath, model: Model, trusted: set[tuple[str, ...]]) -> str | None:
    """The reason why a copy is nothing but its host's word; None where the source or a key speaks for it."""
    known = known_manifest(path.project, path.version, model.source)
    if known is not None:
        return None if manifest_id == known else "it is another one than the source was when this machine read it"
    if not trusted or not all(trusted):
        return "this machine never read the source, and not every host trusts a key"
    return None


class VersionPush:
    """One version on its way to connected hosts, by what their stores said. Hosts that have it take part: others take
    from them.
    """

    def __init__(self, fleet: Fleet, path: VersionPath, targets: Targets, emit: Emit) -> None:
        self.fleet, self.path, self.targets, self.emit = fleet, path, targets, emit

    def send(self, local: LocalVersion, rate: int | None = None, base: LocalVersion | None = None) -> Pushed:
        """Bring a version to every host that lacks it. `rate`: megabits per second that each host hands on."""
        manifest = local.manifest
        errors = self._refusals(manifest, copied=True)
        able = [name for name in self.targets if name not in errors]
        if all(self._has(manifest, name) for name in able):
            received = dict.fromkeys(able, 0)
            return Pushed(manifest.id, manifest.size, published=able, received=received, errors=errors)
        talks: dict[str, Talk] = {}
        # whoever has most stands first: the origin sends what nobody has
        for name in sorted(able, key=lambda name: not self._has(manifest, name)):
            try:
                talks[name] = connection_of(self.targets[name].host).open_stream(relay(*self.path))
            except HostError as failed:
                errors[name] = failed.error
        where = {name: self.fleet.host(name).address for name in talks}
        racks = {name: str(self.fleet.host(name).variables.get("rack") or "") for name in talks}
        bytes_per_s = rate * MEGABIT if rate else None
        delta = _delta(manifest, base) if base else None
        what = f"{self.path.project} {self.path.version}"
        pushed = Push(manifest, local.folder, where, racks, bytes_per_s, self.emit, delta, what).run(talks)
        pushed.errors = {**errors, **pushed.errors}
        return pushed

    def adopt(self, shared: str, manifest: Manifest) -> Pushed:
        """Have every host compare what lies on a NAS, at `shared`, all at once; nothing is sent."""
        from gevent.pool import Pool

        pushed = Pushed(manifest.id, manifest.size, errors=self._refusals(manifest, copied=False))

        def publish(name: str) -> None:
            why = None
            if not self._has(manifest, name):
                why = adopt(self.targets[name].host, *self.path, shared, manifest)
            if why is not None:
                pushed.errors[name] = PushFailed(where=name, why=why)
            else:
                pushed.published.append(name)
                pushed.received[name] = 0

        Pool(AT_ONCE).map(publish, [name for name in self.targets if name not in pushed.errors])
        return pushed

    def _has(self, manifest: Manifest, name: str) -> bool:
        state = self.targets[name].state
        return state is not None and in_place(manifest, state)

    def _refusals(self, manifest: Manifest, copied: bool) -> dict[str, SteelyardError]:
        """Hosts that the version must not, or cannot, be brought to, and why."""
        refusals: dict[str, SteelyardError] = {}
        for name, (_, state) in self.targets.items():
            why = NO_HELPER if state is None else refusal(manifest, state, self.path.folder, copied)
            if why is not None:
                refusals[name] = PushFailed(where=name, why=why)
        return refusals


def _delta(manifest: Manifest, base: LocalVersion) -> Delta:
    """The delta from a version whose files are on this machine."""
    return Delta(ManifestDocument(manifest.as_json()), ManifestDocument(base.manifest.as_json()), base.folder)
