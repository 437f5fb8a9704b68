"""RPM packages at exact versions, with the stream they come from and a lock, for RHEL 8 and 9 and their likes."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from steelyard.change import Change
from steelyard.modules.facts.rpm import EnabledStream, Rpms, RpmState


@operation()
def stream(stream: str) -> Generator[StringCommand, None, None]:
    """`MODULE:STREAM` is enabled; another one of the module is left first."""
    module, _, wanted = stream.partition(":")
    now = host.get_fact(EnabledStream, module=module)
    if now != wanted:
        what = {"subject": f"dnf module {module}", "declared": wanted, "live": now or "not enabled"}
        if now is not None:
            yield Change("dnf -q -y module reset", QuoteString(module), **what)
        yield Change("dnf -q -y module enable", QuoteString(stream), **what)


def install_command(packages: dict[str, str], now: RpmState) -> list[StringCommand]:
    """One transaction; the lock is lifted for it, and `dnf install` also goes back to an older version."""
    wrong = {
        name: version
        for name, version in packages.items()
        if name not in now.versions or (version and now.versions[name] != version)
    }
    if not wrong:
        return []
    words = [QuoteString(f"{name}-{version}*" if version else name) for name, version in wrong.items()]
    live = ", ".join(f"{name} {now.versions[name]}" for name in wrong if name in now.versions) or "missing"
    declared = ", ".join(f"{name} {version}".strip() for name, version in wrong.items())
    subject = "packages " + " ".join(wrong)
    return [Change("dnf -q -y --disableplugin=versionlock install --setopt=install_weak_deps=False --allowerasing", *words,
                   subject=subject, declared=declared, live=live)]  # fmt: skip


@operation()
def versions(packages: dict[str, str]) -> Generator[StringCommand, None, None]:
    """Every package is installed at its version; an empty one means any."""
    yield from install_command(packages, host.get_fact(Rpms, packages=tuple(packages)))


@operation()
def locked(packages: dict[str, str]) -> Generator[StringCommand, None, None]:
    """dnf moves none of them."""
    now = host.get_fact(Rpms, packages=tuple(packages))
    free = [
        name
        for name, version in packages.items()
        if version and not any(f"{name}-" in lock and version in lock for lock in now.locks)
    ]
    if free:
        words = [QuoteString(f"{name}-{packages[name]}*") for name in free]
        yield Change(
            "dnf -q -y versionlock add --raw", *words, subject="version locks", declared=", ".join(free), live="not locked"
        )
