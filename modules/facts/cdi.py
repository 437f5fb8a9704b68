"""NVIDIA's CDI descriptions on a host and whether they are of the driver that is there; one exec. Source: the files."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pyinfra.api.command import StringCommand
from pyinfra.api.exceptions import FactProcessError
from pyinfra.api.facts import FactBase

RUNTIME, FIXED = "/var/run/cdi/nvidia.yaml", "/etc/cdi/nvidia.yaml"


@dataclass(frozen=True)
class CdiSpec:
    """One description: driver versions in the library paths that it mounts, paths that are gone, and its GPUs and MIG
    instances.
    """

    path: str
    versions: tuple[str, ...]
    missing: tuple[str, ...]
    devices: int


@dataclass(frozen=True)
class CdiState:
    """`refreshed`: NVIDIA's own unit keeps the description; `matches`: that unit's pattern finds this host's
    modules.
    """

    specs: tuple[CdiSpec, ...] = ()
    refreshed: bool = False
    matches: bool = False
    char_links: bool = True

    def spec(self, path: str) -> CdiSpec | None:
        return next((spec for spec in self.specs if spec.path == path), None)


def parse_cdi(lines: list[str]) -> CdiState:
    """`spec=`, `lib=`, `gone=`, `device` and flag lines. Raises FactProcessError."""
    specs: list[CdiSpec] = []
    flags: dict[str, str] = {}
    for line in lines:
        key, _, value = line.partition("=")
        if key == "spec":
            specs.append(CdiSpec(value, (), (), 0))
        elif key in ("lib", "gone", "devices"):
            if not specs:
                raise FactProcessError(f"cdi: cannot read {lines}")
            last = specs[-1]
            version = re.search(r"\.so\.(\d{3}\.\d+(?:\.\d+)?)$", value)
            versions = {*last.versions, version[1]} if key == "lib" and version else set(last.versions)
            missing = (*last.missing, value) if key == "gone" else last.missing
            specs[-1] = CdiSpec(
                last.path, tuple(sorted(versions)), missing, int(value) if key == "devices" else last.devices
            )
        else:
            flags[key] = value
    return CdiState(
        tuple(specs), flags.get("refreshed") == "yes", flags.get("matches") == "yes", flags.get("char_links") != "no"
    )


class Cdi(FactBase[CdiState]):
    """Both places where a description may lie; the one in /var/run wins."""

    def command(self) -> StringCommand:
        each = (
            f"for f in {FIXED} {RUNTIME}; do test -f $f || continue; echo spec=$f;"
            " for l in $(grep -oE '/[^ \"]*/lib[^ \"]*[.]so[.][0-9.]+' $f | sort -u); do echo lib=$l; test "
            "-e $l || echo gone=$l; done;"
            " echo devices=$(grep -cE '^ *- name: \"?[0-9]+(:[0-9]+)?\"?$' $f); done"
        )
        refreshed = "systemctl -q is-enabled nvidia-cdi-refresh.path 2>/dev/null && echo refreshed=yes"
        matches = (
            "grep -qE '/(nvidia|nvidia-current)[.]ko' /lib/modules/$(uname -r)/modules.dep 2>/dev/null && echo "
            "matches=yes"
        )
        links = (
            "for d in /dev/nvidia[0-9]*; do test -c $d || continue; l=/dev/char/$(stat -c '%Hr:%Lr' $d); test "
            "-e $l || echo char_links=no; done"
        )
        return StringCommand("; ".join([each, refreshed, matches, links, "true"]))

    def process(self, output: list[str]) -> CdiState:
        return parse_cdi(output)

    @staticmethod
    def default() -> CdiState:
        return CdiState()
