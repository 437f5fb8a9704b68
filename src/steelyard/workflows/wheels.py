"""Wheels for the hosts of an inventory: which sets, for which hosts, from which index, to which mirrors."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from steelyard.artifacts.wheel_plan import CollectedSet, PlannedSet
from steelyard.errors import InventoryNotNamed, NoWheelsDeclared
from steelyard.events import Emit, HostsAsked, Step

if TYPE_CHECKING:
    from pyinfra.api.host import Host

    from steelyard.artifacts.kernels import Kernels
    from steelyard.artifacts.wheel_folder import WheelFolder
    from steelyard.artifacts.wheel_index import Index
    from steelyard.artifacts.wheel_needs import EngineNeed
    from steelyard.artifacts.wheel_push import Delivered
    from steelyard.artifacts.wheel_resolution import ResolvedWheels
    from steelyard.artifacts.wheel_sets import WheelSet
    from steelyard.artifacts.wheel_target import Target
    from steelyard.engine.session import Session
    from steelyard.inventory.fleet import Fleet
    from steelyard.modules.facts.python import PlatformState


@dataclass(frozen=True)
class WheelRequest:
    """One call of `plan` or `collect`, which `command` names."""

    command: str
    sets: tuple[str, ...]
    given_inventory: Path | None
    python: str | None
    glibc: str | None
    kernels: Path | None
    vault_password_file: Path | None

    @property
    def says_all(self) -> bool:
        """Whether no host and no inventory has to be asked; versions are then the newest known ones."""
        return bool(self.sets) and self.python is not None and self.glibc is not None

    @property
    def inventory(self) -> Path:
        """The one that is named, else chosen. Raises as the choice does."""
        from steelyard.inventory.choice import choose_inventory

        return self.given_inventory or choose_inventory(self.command)


@dataclass(frozen=True)
class _NeededSet:
    """A set, the hosts it is for as a target, and what is not known of them."""

    need: EngineNeed
    target: Target
    unknown: tuple[str, ...] = ()


def _fleet(request: WheelRequest, emit: Emit) -> Fleet | None:
    """The inventory; None where none is needed and none is named."""
    from .run_context import RunOptions, read

    try:
        inventory = request.inventory
    except InventoryNotNamed:
        if request.says_all:
            return None
        raise
    connecting = not request.says_all
    return read(
        RunOptions(inventory, vault_password_file=request.vault_password_file, deploy=None, connecting=connecting), emit
    )


def _needed_sets(request: WheelRequest, emit: Emit) -> tuple[list[_NeededSet], dict[str, str]]:
    """The sets with their hosts, and the versions of engines that the inventory declares. Raises every error of
    reading.
    """
    from steelyard.artifacts.wheel_needs import EngineNeed, declared_versions, needs_of, serving_hosts, target_of
    from steelyard.artifacts.wheel_sets import wheel_set
    from steelyard.artifacts.wheel_target import target
    from steelyard.site.resolve import site_of

    for word in request.sets:
        wheel_set(word)  # a typo is told before anything is read
    fleet = _fleet(request, emit)
    versions = declared_versions(fleet) if fleet is not None else {}
    if request.says_all:
        if fleet is None and any("==" not in word for word in request.sets):
            text = "no inventory is read: versions are the newest that this steelyard knows; SET==VERSION names another"
            emit(Step(text))
        hosts = target(str(request.python), str(request.glibc))
        return [_NeededSet(EngineNeed(wheel_set(word, versions), ()), hosts) for word in request.sets], versions
    assert fleet is not None
    site = site_of(fleet)
    if not site.services and not request.sets:
        raise NoWheelsDeclared(where=str(request.inventory))
    engine_hosts = serving_hosts(site) or fleet.groups.get("gpu", ())
    platforms = _platforms(request, engine_hosts, emit)
    needs = needs_of(fleet, site, platforms)
    if request.sets:
        chosen = [wheel_set(word, versions) for word in request.sets]
        known = {need.chosen: need for need in needs}
        needs = [known.get(one) or EngineNeed(one, _likely_hosts(one, needs) or engine_hosts) for one in chosen]
    sets = []
    for need in needs:
        hosts, unknown = target_of(need, platforms, request.python, request.glibc, str(request.inventory))
        sets.append(_NeededSet(need, hosts, unknown))
    return sets, versions


def _likely_hosts(chosen: WheelSet, needs: list[EngineNeed]) -> tuple[str, ...]:
    """Who a set is for that is asked for by name: hosts of its build, else of its engine, in whatever version."""
    for alike in (
        [need for need in needs if need.chosen.build == chosen.build],
        [need for need in needs if need.chosen.build.kind == chosen.build.kind],
    ):
        if alike:
            return tuple(dict.fromkeys(name for need in alike for name in need.hosts))
    return ()


def _platforms(request: WheelRequest, serving: tuple[str, ...], emit: Emit) -> dict[str, PlatformState | None]:
    """Of each host that serves models and answers. Silent ones are named by whoever needs them."""
    from steelyard.modules.facts.python import Platform

    from .run_context import RunOptions, open_session

    if not serving:
        return {}
    with open_session(RunOptions(request.inventory, ",".join(serving), request.vault_password_file, None), emit) as (
        _,
        session,
    ):
        answers: dict[str, PlatformState | None] = session.facts(Platform)
    emit(HostsAsked())
    return answers


def _kernels(
    request: WheelRequest, resolution: ResolvedWheels, metadata: str | None
) -> tuple[str | None, Kernels | None]:
    """FlashInfer's version that an engine pins, and the supplied kernels, which have to be of it.

    Where METADATA could not be read, the version that was resolved is the pinned one: there is no other that satisfies
    it.
    """
    from steelyard.artifacts.kernels import PIN, flashinfer_pin, read_kernels

    chosen = resolution.chosen
    pinned = flashinfer_pin(metadata) if metadata is not None else resolution.version_of(PIN)
    if request.kernels is None or pinned is None:
        return pinned, None
    return pinned, read_kernels(request.kernels, pinned, chosen)


def _resolved(request: WheelRequest, chosen: WheelSet, hosts: Target, index: Index) -> tuple[ResolvedWheels, list[str]]:
    """A set with its kernels and licences, and what is to be said of it."""
    from steelyard.artifacts.kernels import kernel_lines
    from steelyard.artifacts.wheel_collect import local_wheel
    from steelyard.artifacts.wheel_metadata import fetch_all, fetch_metadata, with_licences, with_sizes
    from steelyard.artifacts.wheel_resolution import resolve

    resolution = resolve(chosen, hosts, index)
    resolution = replace(resolution, wheels=with_sizes(resolution.wheels, index))
    engine = next(wheel for wheel in resolution.wheels if wheel.project == chosen.build.project)
    pinned, kernels = _kernels(request, resolution, fetch_metadata(engine, index))
    wheels = list(resolution.wheels)
    if kernels is not None:
        wheels = [wheel for wheel in wheels if wheel.project not in kernels.projects] + [
            local_wheel(path) for path in kernels.wheels
        ]
    wheels = sorted(with_licences(wheels, fetch_all(wheels, index)), key=lambda wheel: wheel.file)
    projects = frozenset(wheel.project for wheel in wheels)
    notes = kernel_lines(chosen.title, pinned, kernels, projects)
    if request.kernels is not None and pinned is None:
        notes.append(f"{chosen.title} uses no FlashInfer: {request.kernels} is not for it")
    return replace(resolution, wheels=tuple(wheels)), notes


def plan_sets(request: WheelRequest, index: Index, emit: Emit) -> list[PlannedSet]:
    """Every set resolved. Raises as the parts do."""
    planned = []
    for needed in _needed_sets(request, emit)[0]:
        emit(Step(f"resolving {needed.need.chosen.title}"))
        resolution, notes = _resolved(request, needed.need.chosen, needed.target, index)
        planned.append(PlannedSet(resolution, needed.need.hosts, (*needed.need.notes, *notes), needed.unknown))
    return planned


def collect_sets(request: WheelRequest, into: Path, index: Index, emit: Emit) -> list[CollectedSet]:
    """Every set whole on this machine. Raises as the parts do; sets that are whole stay."""
    from steelyard.artifacts.wheel_collect import collect
    from steelyard.artifacts.wheel_folder import begun, read_folder
    from steelyard.artifacts.wheel_pins import declaration
    from steelyard.artifacts.wheel_plan import size_of
    from steelyard_host.mirror.wheels import LOCK

    collected, (sets, versions) = [], _needed_sets(request, emit)
    for needed in sets:
        chosen, path = needed.need.chosen, into / needed.need.chosen.name
        known = begun(path, chosen, needed.target)
        whole = (path / LOCK).is_file()
        if known is None and not whole:
            emit(Step(f"resolving {chosen.title}"))
            known, notes = _resolved(request, chosen, needed.target, index)
            for note in (*needed.need.notes, *notes, *needed.unknown):
                emit(Step(f"note: {note}"))
        elif request.kernels is not None:
            emit(Step(f"note: {path} was begun before, and goes on as it was: {request.kernels} is not looked at"))
        if not whole:
            assert known is not None
            emit(Step(f"{chosen.title}: {len(known.wheels)} wheels, {size_of(known.total)}, into {path}"))
            collect(known, path, index, emit)
        folder = read_folder(path)
        lock = str(folder.lock_sha256)
        files = list(folder.files.glob("*.whl"))
        size = sum(file.stat().st_size for file in files)
        line = declaration(chosen, lock, versions)
        collected.append(CollectedSet(chosen.title, str(path), len(files), size, lock, not whole, line))
    return collected


def folders_to_push(root: Path, emit: Emit) -> list[WheelFolder]:
    """Collected sets in a folder, each as it was locked; wheels of no engine stay here.

    Raises NoWheelsThere, WheelsNotAsLocked.
    """
    from steelyard.artifacts.wheel_folder import folders_in
    from steelyard.artifacts.wheel_push import require_as_locked

    folders = []
    for folder in folders_in(root, "steelyard wheels push"):
        require_as_locked(folder)
        if folder.chosen is None:
            emit(Step(f"{folder.path} holds the wheels of no engine, and stays here"))
        else:
            folders.append(folder)
    return folders


def push_folders(fleet: Fleet, session: Session, folders: list[WheelFolder], emit: Emit) -> list[Delivered]:
    """Bring every set to every mirror host of the session. Raises SetsInOneFolder before a byte is sent."""
    from steelyard.api.settings import settings_from
    from steelyard.artifacts.wheel_needs import section_version
    from steelyard.artifacts.wheel_push import places, push
    from steelyard.roles.package_mirror.settings import Settings

    delivered: list[Delivered] = []
    targets = {}
    for name in session.names:
        variables = fleet.host(name).variables
        root = settings_from(Settings, variables).wheels
        targets[name] = places(folders, root, section_version("vllm", variables))

    def bring(host: Host) -> None:
        for place, folder in targets[host.name].items():
            delivered.append(push(host, folder, place, emit))

    session.each(bring, "bringing wheels to")
    return sorted(delivered, key=lambda delivery: (delivery.host, delivery.folder))
