"""The versions that may be removed from a host. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from steelyard_host.wire.store import StoredVersion


def removable(
    versions: Sequence[StoredVersion], declared: Mapping[str, str], named: tuple[str, str | None] | None, keep: int
) -> tuple[list[str], list[str]]:
    """PROJECT@VERSION words to remove, and sentences about what stays and was asked for by name.

    `versions` are those of the host's store. Without a name: all but those declared, current, previous, in use or
    leased, and the `keep` newest of the rest of each model. `named` is a model and a version, None for all of them.
    """
    spare = [version for version in versions if not _reason(version, declared)]
    if named is not None:
        model, number = named
        reasons = {_word(version): _reason(version, declared, links=model in declared) for version in versions}
        asked = [version for version in versions if version.project == model and number in (None, version.version)]
        stays = [f"{_word(version)} is {reasons[_word(version)]}" for version in asked if reasons[_word(version)]]
        return [_word(version) for version in asked if not reasons[_word(version)]], stays
    oldest = []
    for project in dict.fromkeys(version.project for version in spare):
        newest_first = sorted(
            (version for version in spare if version.project == project), key=lambda version: -version.published
        )
        oldest += [_word(version) for version in newest_first[keep:]]
    return oldest, []


class Undeclared(NamedTuple):
    """Versions of a host that nothing declared needs. `versions` are PROJECT@VERSION; `bytes` what they alone take.

    `stays`: sentences on those that somebody has leased.
    """

    versions: tuple[str, ...]
    bytes: int
    stays: tuple[str, ...] = ()


def undeclared_projects(
    versions: Sequence[StoredVersion], stored: Collection[str], services: Collection[str]
) -> Undeclared:
    """Versions of projects that a host is to store no more, those that `current` names too, and what engines made of
    them. `stored`: declared projects of the host; `services`: its declared services.
    """
    gone = [version for version in versions if not _is_declared(version.project, stored, services)]
    leased = [version for version in gone if version.leases]
    going = [version for version in gone if not version.leases]
    stays = tuple(f"{_word(version)} is kept by {version.leases[0].who}" for version in leased)
    return Undeclared(tuple(map(_word, going)), sum(version.own_bytes for version in going), stays)


def _is_declared(project: str, stored: Collection[str], services: Collection[str]) -> bool:
    kind, _, name = project.partition("/")
    if kind == "_compiled":
        return name in services
    return (name if kind == "_sharded" else project) in stored


def undeclared_versions(versions: Sequence[StoredVersion], declared: Mapping[str, str]) -> Undeclared:
    """Versions of declared projects that are neither declared nor current, previous, in use or leased: nobody needs
    them, and no rollback would.
    """
    spare = [version for version in versions if version.project in declared and _reason(version, declared) is None]
    return Undeclared(tuple(map(_word, spare)), sum(version.own_bytes for version in spare))


def _word(version: StoredVersion) -> str:
    return f"{version.project}@{version.version}"


def _reason(version: StoredVersion, declared: Mapping[str, str], links: bool = True) -> str | None:
    """The reason why a version has to stay; None where it may go. `links`: `current` and `previous` are reasons."""
    if declared.get(version.project) == version.version:
        return "declared"
    if version.current and links:
        return "current"
    if version.previous and links:
        return "previous"
    if version.in_use:
        return f"in use by {version.in_use}"
    return f"kept by {', '.join(lease.who for lease in version.leases)}" if version.leases else None
