"""The Python that a host's helper runs under; one exec. Source: python3 itself."""

from __future__ import annotations

from dataclasses import dataclass

from pyinfra.api.command import StringCommand
from pyinfra.api.exceptions import FactProcessError
from pyinfra.api.facts import FactBase


@dataclass(frozen=True)
class PythonAbi:
    """`version` as 3.11, `machine` as x86_64: what a compiled library must be for."""

    version: str
    machine: str


def parse_python(lines: list[str]) -> PythonAbi | None:
    """One line of two words; None where there is no Python. Raises FactProcessError."""
    fields = " ".join(lines).split()
    if fields == ["none"]:
        return None
    if len(fields) != 2:
        raise FactProcessError(f"python: cannot read {lines}")
    return PythonAbi(*fields)


class Python(FactBase[PythonAbi | None]):
    """The host's own python3."""

    def command(self) -> StringCommand:
        asked = "import sys, platform; print('%d.%d' % sys.version_info[:2], platform.machine())"
        return StringCommand(f'python3 -I -c "{asked}" 2>/dev/null || echo none')

    def process(self, output: list[str]) -> PythonAbi | None:
        return parse_python(output)

    @staticmethod
    def default() -> PythonAbi | None:
        return None


@dataclass(frozen=True)
class PlatformState:
    """Platform that compiled wheels have to fit. `glibc` is empty where the C library is another one.

    `gpus` counts NVIDIA's on the PCI bus: there before any driver is.
    """

    python: str
    machine: str
    glibc: str
    gpus: int


def parse_platform(lines: list[str]) -> PlatformState | None:
    """`python=3.11` and the like, a line each; None where there is no Python. Raises FactProcessError."""
    try:
        values = dict(line.split("=", 1) for line in lines)
        if not values["python"]:
            return None
        return PlatformState(values["python"], values["machine"], values["glibc"], int(values["gpus"]))
    except (KeyError, ValueError) as error:
        raise FactProcessError(f"platform: cannot read {lines}") from error


class Platform(FactBase[PlatformState | None]):
    """Python, C library, processor and GPUs of a host that may have nothing of ours yet. Sources: python3, sysfs."""

    def command(self) -> StringCommand:
        asked = "import sys; print('%d.%d' % sys.version_info[:2])"
        library = "import platform; print(platform.libc_ver()[1] if platform.libc_ver()[0] == 'glibc' else '')"
        # class 0x03: a display controller; vendor 0x10de
        gpus = (
            "n=0; for d in /sys/bus/pci/devices/*; do"
            ' case "$(cat $d/vendor 2>/dev/null) $(cat $d/class 2>/dev/null)" in "0x10de 0x03"*) '
            "n=$((n+1));; esac; done"
        )
        return StringCommand(
            f'echo python=$(python3 -I -c "{asked}" 2>/dev/null); echo machine=$(uname -m);'
            f' echo glibc=$(python3 -I -c "{library}" 2>/dev/null); {gpus}; echo gpus=$n'
        )

    def process(self, output: list[str]) -> PlatformState | None:
        return parse_platform(output)

    @staticmethod
    def default() -> PlatformState | None:
        return None
