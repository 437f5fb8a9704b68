"""Versions of what runs on a host; one exec. Source: the helper's file, services' environments, programs' own words."""

from __future__ import annotations

from dataclasses import dataclass

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.exceptions import FactProcessError
from pyinfra.api.facts import FactBase

from steelyard_host import paths


@dataclass(frozen=True)
class HostVersions:
    """`helper`: sha256 of its file, None without one; `engines`: environments that services start from, by service;
    the others as their programs name themselves, None without them.
    """

    helper: str | None
    engines: tuple[tuple[str, str], ...]
    haproxy: str | None
    systemd: str | None
    kernel: str


def parse_versions(lines: list[str]) -> HostVersions:
    """`key=value` lines to versions. Raises FactProcessError."""
    values: dict[str, str] = {}
    engines = []
    for line in lines:
        key, separator, value = line.partition("=")
        if not separator:
            raise FactProcessError(f"versions: cannot read {line!r}")
        if key.startswith("engine "):
            engines.append((key.removeprefix("engine "), value.rsplit("/", 1)[-1]))
        else:
            values[key] = value
    if "kernel" not in values:
        raise FactProcessError(f"versions: no kernel in {lines[:3]}")
    helper, haproxy, systemd = (values.get(name) or None for name in ("helper", "haproxy", "systemd"))
    return HostVersions(helper, tuple(sorted(engines)), haproxy, systemd, values["kernel"])


class Versions(FactBase[HostVersions]):
    """Versions of helper, engines in use, HAProxy, systemd and kernel; an empty one, or none, of what is not there."""

    def command(self) -> StringCommand:
        helper = StringCommand("echo helper=$(sha256sum", QuoteString(paths.HELPER), "2>/dev/null | cut -d' ' -f1)")
        engines = (
            f"for f in {paths.SERVICES}/*.env; do test -e $f || continue; n=${{f##*/}}; "
            'sed -n "s/^STEELYARD_ENGINE=/engine ${n%.env}=/p" $f; done'
        )
        haproxy = "echo haproxy=$(haproxy -v 2>/dev/null | sed -n '1s/.*version \\([^ ]*\\).*/\\1/p')"
        systemd = "echo systemd=$(systemctl --version | sed -n '1s/^systemd \\([^ ]*\\).*/\\1/p')"
        return StringCommand(helper, ";", engines, ";", haproxy, ";", systemd, "; echo kernel=$(uname -r)")

    def process(self, output: list[str]) -> HostVersions:
        return parse_versions(output)

    @staticmethod
    def default() -> HostVersions:
        return HostVersions(None, (), None, None, "")
