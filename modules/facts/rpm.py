"""Packages, module streams and version locks of RHEL and its likes; one exec each, no network. Source: rpm,
/etc/dnf.
"""

from __future__ import annotations

from dataclasses import dataclass

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.facts import FactBase


@dataclass(frozen=True)
class RpmState:
    """Installed versions by name, and names that are locked at one."""

    versions: dict[str, str]
    locks: tuple[str, ...] = ()


def parse_rpms(lines: list[str]) -> RpmState:
    """`NAME VERSION` lines of rpm, then `lock PATTERN` lines; rpm's words on what is not installed are passed over."""
    locks = tuple(sorted(line[5:] for line in lines if line.startswith("lock ")))
    rows = [line.split() for line in lines if not line.startswith(("lock ", "package ", "end"))]
    return RpmState({row[0]: row[1] for row in rows if len(row) == 2}, locks)


class Rpms(FactBase[RpmState]):
    """Installed ones of `packages`, and dnf's version locks."""

    def command(self, packages: tuple[str, ...]) -> StringCommand:
        names = [QuoteString(name) for name in packages]
        asked = StringCommand(r"rpm -q --qf '%{NAME} %{VERSION}\n'", *names)
        locks = "sed -n 's/^\\([^#].*\\)/lock \\1/p' /etc/dnf/plugins/versionlock.list 2>/dev/null"
        return StringCommand(asked, ";", locks, "; echo end")

    def process(self, output: list[str]) -> RpmState:
        return parse_rpms(output)

    @staticmethod
    def default() -> RpmState:
        return RpmState({})


def parse_stream(lines: list[str]) -> str | None:
    """The value of `stream=`; None where the module is not enabled."""
    return next((line[7:] for line in lines if line.startswith("stream=") and len(line) > 7), None)


class EnabledStream(FactBase["str | None"]):
    """The stream of `module` that is enabled."""

    def command(self, module: str) -> StringCommand:
        file = QuoteString(f"/etc/dnf/modules.d/{module}.module")
        return StringCommand(
            "test -e", file, "&& grep -q '^state=enabled' ", file, "&& grep '^stream=' ", file, "; echo end"
        )

    def process(self, output: list[str]) -> str | None:
        return parse_stream(output)

    @staticmethod
    def default() -> str | None:
        return None
