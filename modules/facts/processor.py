"""Processor of a host, its accelerators, and whether it can compile for itself: read from the kernel, without the
helper, in one exec.

Sources: /proc/cpuinfo, classes and vendors of /sys/bus/pci, the compiler on the path, and the header of the host's own
Python.
"""

from __future__ import annotations

from dataclasses import dataclass

from pyinfra.api.command import StringCommand
from pyinfra.api.exceptions import FactProcessError
from pyinfra.api.facts import FactBase

# 3D controllers, further displays, processing accelerators; and whatever shows a picture by NVIDIA
ACCELERATORS = "0x0302*:*|0x0380*:*|0x1200*:*|0x03*:0x10de"


@dataclass(frozen=True)
class ProcessorState:
    """`accelerator`: the bus shows a GPU or the like. `compiler`: C++; `headers`: Python's own, for what is
    compiled.
    """

    amx: bool
    accelerator: bool
    compiler: bool
    headers: bool


def parse_processor(lines: list[str]) -> ProcessorState:
    """`key=yes` or `key=no`, a line each. Raises FactProcessError."""
    try:
        values = dict(line.split("=", 1) for line in lines)
        return ProcessorState(**{name: values[name] == "yes" for name in ("amx", "accelerator", "compiler", "headers")})
    except (KeyError, ValueError) as error:
        raise FactProcessError(f"processor: cannot read {lines}") from error


class Processor(FactBase["ProcessorState | None"]):
    """The host's CPU, whether there is more than that, and its compiler."""

    def command(self) -> StringCommand:
        script = (
            'told() { if [ "$2" ]; then echo "$1=yes"; else echo "$1=no"; fi; }; '
            'told amx "$(grep -m1 -ow amx_tile /proc/cpuinfo)"; found=; '
            "for device in /sys/bus/pci/devices/*; do "
            'case "$(cat "$device/class" 2>/dev/null):$(cat "$device/vendor" 2>/dev/null)" in '
            f'{ACCELERATORS}) found=yes;; esac; done; told accelerator "$found"; '
            'told compiler "$(command -v g++ || command -v c++ || command -v clang++)"; '
            "header=$(python3 -I -c \"import sysconfig; print(sysconfig.get_paths()['include'])\" "
            "2>/dev/null)/Python.h; "
            'test -e "$header" || header=; told headers "$header"'
        )
        return StringCommand(script)

    def process(self, output: list[str]) -> ProcessorState | None:
        return parse_processor(output)

    @staticmethod
    def default() -> ProcessorState | None:
        return None
