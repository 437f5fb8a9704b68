"""Debian packages as declared."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from steelyard.api.change import Change, Reason
from steelyard.api.foreseen import foreseen
from steelyard.modules.facts.package import Packages

APT = "DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Dpkg::Options::=--force-confold -o DPkg::Lock::Timeout=120"


def install_commands(wanted: tuple[str, ...], present: dict[str, str]) -> list[StringCommand]:
    """One refresh of the lists and one install of what is missing; nothing where all are there."""
    missing = [name for name in wanted if name not in present]
    if not missing:
        return []
    what: Reason = {"subject": "packages " + " ".join(missing), "declared": "installed", "live": "missing"}
    names = [QuoteString(name) for name in missing]
    return [
        Change(APT, "update >/dev/null", **what),
        Change(APT, "install --no-install-recommends", *names, **what),
    ]


@foreseen
@operation()
def installed(packages: tuple[str, ...]) -> Generator[StringCommand, None, None]:
    """Every package is installed; versions are the mirror's."""
    yield from install_commands(packages, host.get_fact(Packages, packages=packages))
