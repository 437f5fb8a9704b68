"""The NVIDIA driver three times: the module that is loaded, the one on disk, and the library; one exec, no GPU is
asked.

Sources: /proc/driver/nvidia/version, /sys/module, modinfo on the file (DKMS renames modules on Debian, so `modinfo
nvidia` can fail there), and the file name of libnvidia-ml.so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pyinfra.api.command import StringCommand
from pyinfra.api.exceptions import FactProcessError
from pyinfra.api.facts import FactBase


@dataclass(frozen=True)
class NvidiaDevice:
    """An NVIDIA GPU, or an NVSwitch, as the bus shows it without any driver."""

    bus: str
    device: int
    switch: bool = False


@dataclass(frozen=True)
class DriverState:
    """Versions are None where there is none. `users`: what keeps the modules from being unloaded."""

    loaded: str | None = None
    flavour: str | None = None
    on_disk: str | None = None
    library: str | None = None
    nouveau: bool = False
    users: tuple[str, ...] = ()
    devices: tuple[NvidiaDevice, ...] = ()
    nvlink5: bool = False  # NVSwitch management as an InfiniBand device

    @property
    def gpus(self) -> tuple[NvidiaDevice, ...]:
        return tuple(device for device in self.devices if not device.switch)

    @property
    def switched(self) -> bool:
        return self.nvlink5 or any(device.switch for device in self.devices)


def parse_driver(lines: list[str]) -> DriverState:
    """`key=value` lines to a state. Raises FactProcessError."""
    try:
        pairs = [line.split("=", 1) for line in lines if "=" in line]
        values = dict(pairs)
        devices = []
        for key, value in pairs:
            if key == "pci":
                bus, device, kind = value.split()
                devices.append(NvidiaDevice(bus, int(device, 16), kind.startswith("0x0680")))
        text = values.get("loaded", "")
        version = re.search(r"\b(\d{3}\.\d+(?:\.\d+)?)\b", text)
        flavour = ("open" if "Open Kernel Module" in text else "proprietary") if version else None
        users = tuple(sorted(set(values.get("users", "").split())))
        return DriverState(
            version[1] if version else None,
            flavour,
            values.get("on_disk") or None,
            values.get("library") or None,
            values.get("nouveau") == "yes",
            users,
            tuple(sorted(devices, key=lambda each: each.bus)),
            values.get("nvlink5") == "yes",
        )
    except (KeyError, ValueError) as error:
        raise FactProcessError(f"driver: cannot read {lines}") from error


class Driver(FactBase[DriverState]):
    """Versions, flavour, devices on the bus, and who uses them."""

    def command(self) -> StringCommand:
        pci = (
            'for d in /sys/bus/pci/devices/*; do test "$(cat $d/vendor 2>/dev/null)" = 0x10de || continue; '
            "c=$(cat $d/class);"
            " case $c in 0x0300*|0x0302*|0x0680*) echo pci=${d##*/} $(cat $d/device) $c;; esac; done"
        )
        loaded = 'echo "loaded=$(head -1 /proc/driver/nvidia/version 2>/dev/null)"'
        on_disk = (
            "m=$(ls /lib/modules/$(uname -r)/updates/dkms/nvidia.ko* /lib/modules/$(uname "
            "-r)/updates/dkms/nvidia-current*.ko*"
            " /lib/modules/$(uname -r)/extra/nvidia.ko* /lib/modules/$(uname -r)/kernel/nvidia-*/nvidia.ko* 2>/dev/null"
            " | grep -Ev 'nvidia-(current-)?(drm|uvm|modeset|peermem)' | head -1); test -n \"$m\" && echo "
            "on_disk=$(modinfo -F version $m)"
        )
        library = (
            "l=$(ls /usr/lib/*-linux-gnu/libnvidia-ml.so.[0-9]*.* "
            "/usr/lib/*-linux-gnu/nvidia/current/libnvidia-ml.so.[0-9]*.*"
            ' /usr/lib64/libnvidia-ml.so.[0-9]*.* 2>/dev/null | head -1); test -n "$l" && echo '
            "library=${l##*libnvidia-ml.so.}"
        )
        # one process for all descriptors: a serving host has tens of thousands
        users = (
            "echo users=$(find /proc/[0-9]*/fd -maxdepth 1 -lname '/dev/nvidia*' 2>/dev/null | cut -d/ -f3 | sort -u"
            " | while read p; do cat /proc/$p/comm 2>/dev/null; done | tr ' \\n' '_ ')"
        )
        nouveau = "test -d /sys/module/nouveau && echo nouveau=yes"
        nvlink5 = "grep -qs SW_MNG /sys/class/infiniband/*/device/vpd && echo nvlink5=yes"
        return StringCommand("; ".join([pci, loaded, on_disk, library, users, nouveau, nvlink5, "true"]))

    def process(self, output: list[str]) -> DriverState:
        return parse_driver(output)

    @staticmethod
    def default() -> DriverState:
        return DriverState()


def parse_stale(lines: list[str]) -> tuple[str, ...]:
    """Kernel releases, one a line."""
    return tuple(line for line in lines if line != "end")


class StaleInitramfs(FactBase[tuple[str, ...]]):
    """Kernels whose initial RAM disk is older than `file`, and so does not have it."""

    def command(self, file: str) -> StringCommand:
        return StringCommand(
            f"for i in /boot/initrd.img-* /boot/initramfs-*.img; do test -e $i && test {file} -nt $i && "
            f"echo ${{i##*/}}; done; echo end"
        )

    def process(self, output: list[str]) -> tuple[str, ...]:
        return parse_stale(output)

    @staticmethod
    def default() -> tuple[str, ...]:
        return ()
