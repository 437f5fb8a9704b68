"""Problems of GPUs by what their host answers, each with what to do. `halts` keeps a host from being admitted.

Thresholds have a source or are none at all: no inactive NVLink, no pending or failed row remap, full PCIe width at rest
(speed drops at idle, width does not), fabric state 3 where there is an NVSwitch, versions that agree.
"""

from __future__ import annotations

from dataclasses import dataclass

from steelyard_host.wire.hardware import GpuDevice, GpuHealth, NvLinks, RowRemap

from .xids import ACTIONS

CHECKS = (
    "count",
    "driver",
    "ecc",
    "fabric",
    "links",
    "lost",
    "on-the-bus",
    "recovery",
    "remap",
    "throttle",
    "versions",
    "width",
    "xid",
)
NO_DRIVER, MISMATCH = 9, 18  # NVML's error numbers
FABRIC_COMPLETED = 3
RECOVERY = (
    "none",
    "reset the GPU",
    "reboot the host",
    "drain peer-to-peer users",
    "drain the host and reset the GPU",
    "recover the IMEX domain",
    "reset the bus",
    "reboot the system",
)
DRAIN_RESET = "drain the host, stop what uses the GPU, and reset it: `nvidia-smi --gpu-reset -i {bus}`; else reboot"


@dataclass(frozen=True, order=True)
class GpuProblem:
    """One thing that is wrong. `check` is a stable word; all values are safe to print."""

    check: str
    subject: str
    declared: str
    live: str
    fix: str
    halts: bool = True


def gpu_problems(health: GpuHealth, gpus: int | None = None) -> list[GpuProblem]:
    """The problems of a host's GPUs. `gpus` is the declared number; None: as many as the bus shows."""
    on_bus = [entry for entry in health.pci if entry.kind == "gpu"]
    expected = gpus if gpus is not None else len(on_bus)
    problems: list[GpuProblem] = []
    if len(on_bus) != expected:
        fix = "seat the board anew, or mend `nvidia_driver.gpus`"
        problems.append(GpuProblem("on-the-bus", "GPUs on the PCI bus", str(expected), str(len(on_bus)), fix))
    if not expected and not on_bus:
        return problems
    if health.error:
        return sorted([*problems, _no_library(health), *_xids(health)])
    asked = [device for device in health.devices if not device.asleep]
    for device in (device for device in asked if device.error):
        fix = "reboot the host; if it comes back lost, have the board seated anew or replaced"
        problems.append(GpuProblem("lost", f"GPU {device.index}", "answers", str(device.error), fix))
    if len(health.devices) < len(on_bus):
        fix = "look at `journalctl -k -g NVRM` for why the driver left one out"
        problems.append(
            GpuProblem("count", "GPUs that the driver has", str(len(on_bus)), str(len(health.devices)), fix)
        )
    switched = any(entry.kind == "switch" for entry in health.pci)
    for device in asked:
        if not device.error:
            problems += _device(device, switched)
    return sorted([*problems, *_versions(health), *_xids(health)])


def _no_library(health: GpuHealth) -> GpuProblem:
    if health.code == MISMATCH:
        fix = "reload the modules or reboot: `steelyard apply` does it where `nvidia_driver.restart` allows"
        return GpuProblem("versions", "loaded module and library", "one version", str(health.error), fix)
    if health.code == NO_DRIVER:
        live = "module not loaded" if health.loaded is None else str(health.error)
        return GpuProblem(
            "driver", "NVIDIA driver", "loaded", live, "see `journalctl -k -g nvidia`, `dkms status`, Secure Boot"
        )
    fix = "declare `nvidia_driver.version`, and apply"
    return GpuProblem("driver", "NVIDIA driver", "loaded", str(health.error), fix)


def _versions(health: GpuHealth) -> list[GpuProblem]:
    loaded, library = health.loaded.version if health.loaded is not None else "", health.driver
    if not loaded or not library or loaded == library:
        return []
    live = f"module {loaded}, library {library}"
    return [GpuProblem("versions", "loaded module and library", "one version", live, "reload the modules or reboot")]


def _device(device: GpuDevice, switched: bool) -> list[GpuProblem]:
    name = f"GPU {device.index}"
    reset = DRAIN_RESET.format(bus=device.bus)
    problems = []
    remap = device.remap or RowRemap()
    if remap.failure:
        live = f"failed; {remap.uncorrectable} rows by uncorrectable errors"
        problems.append(
            GpuProblem("remap", f"{name} row remapping", "no failure", live, "replace the board: it qualifies for RMA")
        )
    elif remap.pending or device.retired_pending:
        problems.append(GpuProblem("remap", f"{name} row remapping", "none pending", "pending", reset))
    if device.ecc_uncorrected:
        live = str(device.ecc_uncorrected)
        problems.append(
            GpuProblem("ecc", f"{name} uncorrected ECC errors", "0 since the driver was loaded", live, reset)
        )
    links = device.links or NvLinks(0, 0)
    if links.active < links.has:
        live = f"{links.active} of {links.has}"
        problems.append(
            GpuProblem("links", f"{name} NVLinks up", "all", live, "look at `nvidia-smi nvlink --status`; " + reset)
        )
    if switched and device.fabric and device.fabric.state != FABRIC_COMPLETED:
        fix = "see `journalctl -u nvidia-fabricmanager`: its version must equal the driver's"
        problems.append(GpuProblem("fabric", f"{name} NVLink fabric", "completed", f"state {device.fabric.state}", fix))
    if device.width and device.max_width and device.width < device.max_width:
        live = f"x{device.width}"
        problems.append(
            GpuProblem("width", f"{name} PCIe width", f"x{device.max_width}", live, "seat the board or riser anew")
        )
    held = [
        reason for reason in device.throttle or () if reason in ("hardware slowdown", "hardware thermal", "power brake")
    ]
    if held:
        fix = "check airflow, power supply and cables"
        problems.append(
            GpuProblem("throttle", f"{name} clocks", "not held down by hardware", ", ".join(held), fix, halts=False)
        )
    if device.recovery:
        wanted = RECOVERY[device.recovery] if device.recovery < len(RECOVERY) else f"action {device.recovery}"
        problems.append(
            GpuProblem("recovery", f"{name} recovery action", "none", wanted, f"drain the host, then {wanted}")
        )
    return problems


def _xids(health: GpuHealth) -> list[GpuProblem]:
    problems = []
    for entry in health.xids:
        action = ACTIONS.get(entry.xid)
        fix = action.value.replace("BUS", entry.bus) if action else "not in the catalogue: look it up at NVIDIA"
        times = f"{entry.count} times since boot, last {entry.last}"
        subject = f"Xid {entry.xid} of {entry.bus}"
        problems.append(GpuProblem("xid", subject, "none since boot", times, fix, halts=bool(action and action.halts)))
    return problems
