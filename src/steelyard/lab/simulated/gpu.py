"""Simulated GPUs: our own small libnvidia-ml.so.1 and the /sys and /proc entries that facts read.

Everything it makes says so: the library's names begin with `simulated GPU`, files live in /usr/lib/steelyard-lab.
sysfs cannot hold new entries, so a unit of the host lays our folders over /sys/bus/pci/devices and /proc/driver.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from steelyard.lab.nspawn.machine import place, place_enabled_unit
from steelyard.lab.nspawn.paths import cache_root
from steelyard.lab.nspawn.programs import run
from steelyard.lab.nspawn.spec import SimulatedGpus

SOURCE = Path(__file__).parent.parent / "files" / "nvml_simulated.c"
HOME = "usr/lib/steelyard-lab"
UNIT = """\
[Unit]
Description=lab: lay the simulated GPUs over /sys and /proc
DefaultDependencies=no
After=local-fs.target
Before=sysinit.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/mount --bind /usr/lib/steelyard-lab/pci /sys/bus/pci/devices
ExecStart=/bin/mount --bind /usr/lib/steelyard-lab/driver /proc/driver
ExecStart=/bin/sh -c '/usr/lib/steelyard-lab/driver-load || true'

[Install]
WantedBy=sysinit.target
"""

# What loading the module of a simulated package does; `modprobe nvidia` comes here on such a host.
LOAD = """\
#!/bin/sh
# simulated: loads the simulated kernel module that a simulated driver package has put down
d=/usr/lib/steelyard-lab; m=/lib/modules/$(uname -r)/updates/dkms/nvidia.ko
test -e $m || exit 1
v=$(modinfo -F version $m); case $(modinfo -F license $m) in *GPL*) o="Open Kernel Module for ";; *) o=;; esac
mkdir -p $d/driver/nvidia
echo "NVRM version: NVIDIA UNIX ${o}x86_64  $v  simulated GPU" > $d/driver/nvidia/version
sed -i "s/^driver=.*/driver=$v/; /^set=/d" $d/gpus.conf
"""
MODPROBE = """\
#!/bin/sh
# simulated for NVIDIA's modules only
case "$1" in
  nvidia) exec /usr/lib/steelyard-lab/driver-load ;;
  nvidia-*) exit 0 ;;
  *) exec /sbin/modprobe "$@" ;;
esac
"""


def bus_id(index: int) -> str:
    return f"0000:{0x18 + index:02x}:00.0"


def scenario_text(gpus: SimulatedGpus) -> str:
    """The file the library reads: `key=value` lines, one `gpu=` line per device."""
    lines = [f"driver={gpus.driver}", f"memory_mib={gpus.memory_mib}", f"model={gpus.model}"]
    lines += [f"gpu={bus_id(index)}" for index in range(gpus.count)]
    return "\n".join([*lines, *(f"fault={fault}" for fault in gpus.faults)]) + "\n"


def build_library(say: Callable[[str], None]) -> Path:
    """Compile once per source; the path of the library."""
    library = cache_root() / "gpu" / "libnvidia-ml.so.1"
    if library.exists() and library.stat().st_mtime >= SOURCE.stat().st_mtime:
        return library
    say("building the simulated libnvidia-ml.so.1")
    library.parent.mkdir(parents=True, exist_ok=True)
    run("cc", "-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o", library, SOURCE, "-Wl,-soname,libnvidia-ml.so.1")
    return library


def install(root: Path, gpus: SimulatedGpus, library: Path) -> None:
    """Put scenario, sysfs and procfs entries and the unit into a host's root before it boots.

    With a declared driver it is there and loaded; without one, packages bring it, and `modprobe nvidia` loads it.
    """
    if gpus.driver:
        target = root / "usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(library, target)
        version = f"NVRM version: NVIDIA UNIX x86_64 Kernel Module  {gpus.driver}  simulated GPU\n"
        place(root, f"{HOME}/driver/nvidia/version", version)
    place(root, f"{HOME}/driver/simulated", "")
    place(root, f"{HOME}/gpus.conf", scenario_text(gpus))
    place(root, f"{HOME}/driver-load", LOAD, 0o755)
    place(root, "usr/local/sbin/modprobe", MODPROBE, 0o755)
    for index in range(gpus.count):
        device = f"{HOME}/pci/{bus_id(index)}"
        for name, value in _device_files().items():
            place(root, f"{device}/{name}", value + "\n")
    place_enabled_unit(root, "steelyard-lab-gpu.service", UNIT, "sysinit.target")


def _device_files() -> dict[str, str]:
    """An H100 SXM as its sysfs entry shows it."""
    return {
        "vendor": "0x10de",
        "device": "0x2330",
        "class": "0x030200",
        "numa_node": "0",
        "current_link_width": "16",
        "max_link_width": "16",
        "current_link_speed": "32.0 GT/s PCIe",
        "max_link_speed": "32.0 GT/s PCIe",
    }
