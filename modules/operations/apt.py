"""Debian packages at exact versions: lists fetched when their source changed, the set solved before it is touched,
held.
"""

from __future__ import annotations

from collections.abc import Generator

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from steelyard.api.change import Change, Effect, Reason, Refusal
from steelyard.api.foreseen import foreseen
from steelyard.modules.facts.apt import IGNORING, AptSolution, DebPackage, Debs, ListsFresh, Resolved

from .package import APT


@foreseen
@operation()
def listed(files: tuple[str, ...], url: str) -> Generator[StringCommand, None, None]:
    """apt's lists know the repository at `url` as its source, key and pins in `files` have it now."""
    if not host.get_fact(ListsFresh, files=files, url=url):
        # an unsigned or vanished repository is a warning to apt, and the old lists stay: here it is an error
        refreshed = (
            'E=$(LC_ALL=C apt-get -q update -o APT::Update::Error-Mode=any 2>&1) || { echo "$E" | grep -E '
            "'^(E|W|Err)' >&2; exit 1; }"
        )
        done = "; touch /var/lib/apt/lists/partial"
        yield Change(
            refreshed,
            done,
            subject="apt's lists",
            declared=f"fetched from {url}",
            live="older than the repository's files",
        )


def matches(version: str, wanted: str) -> bool:
    """`580.95.05` declares every packaging of it; `580.95.05-1` this one."""
    return version == wanted or version.split(":", 1)[-1].startswith(wanted + "-") or version.startswith(wanted + "-")


def exact(packages: dict[str, str]) -> tuple[str, ...]:
    """`NAME=VERSION` words for apt; an empty version is whatever the pins choose."""
    return tuple(
        f"{name}={version}*" if version and "-" not in version else f"{name}={version}" if version else name
        for name, version in packages.items()
    )


def pinned_commands(
    packages: dict[str, str], installed: dict[str, DebPackage], solved: AptSolution | None
) -> list[StringCommand]:
    """One install of the whole set; a broken dpkg is mended first. `solved` None: nothing to solve."""
    broken = [name for name, package in installed.items() if not package.whole]
    missing = {
        name: version
        for name, version in packages.items()
        if name not in installed or (version and not matches(installed[name].version, version))
    }
    commands: list[StringCommand] = []
    if broken:
        what: Reason = {
            "subject": "packages " + " ".join(broken),
            "declared": "installed",
            "live": "half installed: dpkg was interrupted",
        }
        commands.append(Change("DEBIAN_FRONTEND=noninteractive dpkg --configure -a --force-confold", **what))
    if not missing:
        return commands
    if solved is not None and solved.error and not solved.unknown:
        return [Refusal(f"apt cannot install the declared set: {solved.error}")]
    live = ", ".join(f"{name} {installed[name].version}" for name in missing if name in installed) or "missing"
    steps = list(solved.installs) if solved is not None else []
    set_of = f"; {len(steps)} packages in all" if steps else ""
    removed = f"; removes {', '.join(solved.removes)}" if solved is not None and solved.removes else ""
    declared = ", ".join(f"{name} {version}".strip() for name, version in missing.items()) + set_of + removed
    names = [QuoteString(word) for word in exact(packages)]
    install = f"install {IGNORING}"
    subject = "packages " + " ".join(missing)
    # dpkg tells on standard output why a package failed
    effect = Effect.REMOVAL if removed else Effect.CHANGE
    commands.append(Change(APT, install, *names, ">&2", subject=subject, declared=declared, live=live, effect=effect))
    return commands


@foreseen
@operation()
def pinned(
    packages: dict[str, str], patterns: tuple[str, ...], preferences: str = ""
) -> Generator[StringCommand, None, None]:
    """Every package is installed at its version. `patterns` are names whose half-installed packages are mended first.

    `preferences` are the pins that the role writes. What apt cannot solve is refused with its own words, in the plan
    already where the lists are there.
    """
    installed = host.get_fact(Debs, patterns=(*patterns, *packages))
    wrong = [
        name
        for name, version in packages.items()
        if name not in installed or (version and not matches(installed[name].version, version))
    ]
    solved = host.get_fact(Resolved, packages=exact(packages), preferences=preferences) if wrong else None
    yield from pinned_commands(packages, installed, solved)


def hold_commands(installed: dict[str, DebPackage], version: str) -> list[StringCommand]:
    """Holds for every package of this version that is installed; a glob would hold only what it resolves to today."""
    free = sorted(name for name, package in installed.items() if matches(package.version, version) and not package.held)
    if not free:
        return []
    names = [QuoteString(name) for name in free]
    return [Change("apt-mark hold", *names, ">/dev/null", subject="holds", declared=", ".join(free), live="not held")]


@foreseen
@operation()
def held(patterns: tuple[str, ...], version: str) -> Generator[StringCommand, None, None]:
    """Every installed package that matches and has this version is held: nobody upgrades it in passing."""
    yield from hold_commands(host.get_fact(Debs, patterns=patterns), version)
