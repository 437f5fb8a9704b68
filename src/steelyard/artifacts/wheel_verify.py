"""Holds a folder of wheels against its lock, its own requirements, and the hosts it is for; reads every byte, changes
nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import InvalidVersion, Version

from steelyard_host.mirror.wheels import normalised
from steelyard_host.system.digest import sha256_file

from .wheel_folder import WheelFolder
from .wheel_metadata import metadata_of, requirements_in
from .wheel_target import Target, rank_of, tag_ranks

READERS = 4


@dataclass(frozen=True, order=True)
class WheelProblem:
    """One thing that is wrong with one file; `what` is missing, altered, extra, unread, unfit or unmet."""

    what: str
    file: str
    why: str


@dataclass(frozen=True)
class VerifiedWheels:
    """`unknown` says what could not be looked at, and why."""

    folder: WheelFolder
    wheels: int
    problems: tuple[WheelProblem, ...]
    unknown: tuple[str, ...] = ()


def verify(folder: WheelFolder) -> VerifiedWheels:
    """Every wheel by its bytes. Problems are sorted by kind and file."""
    files = {path.name: path for path in sorted(folder.files.glob("*.whl"))}
    with ThreadPoolExecutor(READERS) as pool:
        read = dict(zip(files, pool.map(_hash, files.values()), strict=True))
    hashes = {name: outcome for name, outcome in read.items() if not isinstance(outcome, OSError)}
    closed = {name: outcome for name, outcome in read.items() if isinstance(outcome, OSError)}
    problems = [WheelProblem("unread", name, f"it cannot be read: {error.strerror}") for name, error in closed.items()]
    problems += _against_lock(folder, hashes, frozenset(closed))
    texts = {name: metadata_of(path) for name, path in files.items()}
    altered = {problem.file for problem in problems}
    problems += [
        WheelProblem("unread", name, "it is no wheel: there is no METADATA in it")
        for name, text in texts.items()
        if text is None and name not in altered
    ]
    problems += _unmet(folder, texts)
    unknown = []
    if folder.target is None:
        unknown.append("which hosts it is for: the folder has no record, so tags of wheels were not compared")
    else:
        problems += _unfit(folder.target, list(files))
    return VerifiedWheels(folder, len(files), tuple(sorted(set(problems))), tuple(unknown))


def _hash(path: Path) -> str | OSError:
    """The error as a value, so that one file that cannot be read does not hide what is wrong with the others."""
    try:
        return sha256_file(path)
    except OSError as error:
        return error


def _against_lock(folder: WheelFolder, hashes: dict[str, str], closed: frozenset[str]) -> Iterator[WheelProblem]:
    """The lock knows projects, versions and hashes; file names are the record's, or those that fit. One file for each
    line:
    another build of the same version is none of the set. Files in `closed` have no hash."""
    locked = folder.locked()
    if ("", "", "") in locked:
        yield WheelProblem("altered", folder.lock.name, "it has lines that are no `PROJECT==VERSION --hash=sha256:...`")
    named: dict[tuple[str, str], list[str]] = {}
    for file in sorted({*hashes, *closed}):
        if file.count("-") >= 4:
            named.setdefault((normalised(file.split("-")[0]), file.split("-")[1]), []).append(file)
    recorded = {wheel.sha256: wheel.file for wheel in folder.wheels}
    taken = set()
    for project, version, sha256 in locked:
        if not project:
            continue
        files = named.get((project, version), [])
        name = next((candidate for candidate in files if hashes.get(candidate) == sha256), None)
        if name is None and files:
            name = recorded[sha256] if recorded.get(sha256) in files else files[0]
            if name in hashes:
                yield WheelProblem("altered", name, f"its sha256 is {hashes[name][:12]}, the lock has {sha256[:12]}")
        if name is None:
            yield WheelProblem("missing", recorded.get(sha256, f"{project}-{version}"), "the lock names it")
        else:
            taken.add(name)
    for file in sorted({*hashes, *closed} - taken):
        yield WheelProblem("extra", file, "the lock does not name it")
    if folder.wheels:
        for gone in {wheel.sha256 for wheel in folder.wheels} - {sha256 for _, _, sha256 in locked}:
            yield WheelProblem("altered", folder.lock.name, f"it lacks {recorded[gone]}, which was collected")


def _unfit(target: Target, files: list[str]) -> Iterator[WheelProblem]:
    ranks = tag_ranks(target)
    for name in files:
        if rank_of(name, ranks) is None:
            yield WheelProblem("unfit", name, f"its tags are not those of {target}")


def _unmet(folder: WheelFolder, texts: dict[str, str | None]) -> Iterator[WheelProblem]:
    """Requirements that no wheel of the set satisfies; extras are followed as they are asked for."""
    markers = folder.target.markers if folder.target else None
    present = {normalised(name.split("-")[0]): (name, name.split("-")[1]) for name in texts if name.count("-") >= 4}
    dropped = set(folder.chosen.build.dropped) if folder.chosen else set()
    waiting: list[tuple[str, str]] = [(project, "") for project in present]
    seen: set[tuple[str, str]] = set()
    while waiting:
        project, extra = waiting.pop()
        if (project, extra) in seen or project not in present:
            continue
        seen.add((project, extra))
        name = present[project][0]
        for asked in requirements_in(texts[name] or ""):
            if not _applies(asked, markers, extra):
                continue
            other = normalised(asked.name)
            if other in present and not _satisfied(asked, present[other][1]):
                yield WheelProblem(
                    "unmet", name, f"it asks for {asked.name}{asked.specifier}, and the set has {present[other][1]}"
                )
            elif other not in present and other not in dropped:
                yield WheelProblem("unmet", name, f"it asks for {asked.name}{asked.specifier}, which the set has not")
            waiting += [(other, more) for more in asked.extras]


def _applies(asked: Requirement, markers: dict[str, str] | None, extra: str) -> bool:
    if asked.marker is None:
        return not extra
    given = {"extra": extra, **(markers or {})}
    holds = asked.marker.evaluate(given)
    # with an extra, only what the extra adds is new
    return holds and (not extra or not asked.marker.evaluate({**given, "extra": ""}))


def _satisfied(asked: Requirement, version: str) -> bool:
    try:
        return asked.specifier.contains(Version(version), prereleases=True)
    except InvalidVersion:
        return False
