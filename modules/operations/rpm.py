"""RPM packages at exact versions, with the stream they come from and a lock, for RHEL 8 and 9 and their likes."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from steelyard.api.change import Change, Reason
from steelyard.api.foreseen import foreseen
from steelyard.modules.facts.rpm import EnabledStream, Rpms, RpmState


@foreseen
@operation()
def stream(stream: str) -> Generator[StringCommand, None, None]:
    """`MODULE:STREAM` is enabled; another one of the module is left first."""
    module, _, wanted = stream.partition(":")
    current = host.get_fact(EnabledStream, module=module)
    if current != wanted:
        what: Reason = {"subject": f"dnf module {module}", "declared": wanted, "live": current or "not enabled"}
        if current is not None:
            yield Change("dnf -q -y module reset", QuoteString(module), **what)
        yield Change("dnf -q -y module enable", QuoteString(stream), **what)


def install_command(packages: dict[str, str], current: RpmState) -> list[StringCommand]:
    """One transaction; the lock is lifted for it, and `dnf install` also goes back to an older version."""
    wrong = {
        name: version
        for name, version in packages.items()
        if name not in current.versions or (version and current.versions[name] != version)
    }
    if not wrong:
        return []
    names = [QuoteString(f"{name}-{version}*" if version else name) for name, version in wrong.items()]
    live = ", ".join(f"{name} {current.versions[name]}" for name in wrong if name in current.versions) or "missing"
    declared = ", ".join(f"{name} {version}".strip() for name, version in wrong.items())
    subject = "packages " + " ".join(wrong)
    return [
        Change(
            "dnf -q -y --disableplugin=versionlock install --setopt=install_weak_deps=False --allowerasing",
            *names,
            subject=subject,
            declared=declared,
            live=live,
        )
    ]


@foreseen
@operation()
def versions(packages: dict[str, str]) -> Generator[StringCommand, None, None]:
    """Every package is installed at its version; an empty one means any."""
    yield from install_command(packages, host.get_fact(Rpms, packages=tuple(packages)))


@foreseen
@operation()
def locked(packages: dict[str, str]) -> Generator[StringCommand, None, None]:
    """dnf moves none of them."""
    current = host.get_fact(Rpms, packages=tuple(packages))
    free = [
        name
        for name, version in packages.items()
        if version and not any(f"{name}-" in lock and version in lock for lock in current.locks)
    ]
    if free:
        names = [QuoteString(f"{name}-{packages[name]}*") for name in free]
        yield Change(
            "dnf -q -y versionlock add --raw",
            *names,
            subject="version locks",
            declared=", ".join(free),
            live="not locked",
        )
