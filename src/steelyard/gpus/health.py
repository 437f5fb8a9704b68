"""What a host's GPU answers mean: each problem with what to do. `halts` keeps a host from being admitted.

Thresholds have a source or are none at all: no inactive NVLink, no pending or failed row remap, full PCIe width at rest
(speed drops at idle, width does not), fabric state 3 where there is an NVSwitch, versions that agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

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
RECOVERY = (
    "none", "reset the GPU", "reboot the host", "drain peer-to-peer users", "drain the host and reset the GPU",
    "recover the IMEX domain", "reset the bus", "reboot the system",
)  # fmt: skip
DRAIN_RESET = "drain the host, stop what uses the GPU, and reset it: `nvidia-smi --gpu-reset -i {bus}`; else reboot"


@dataclass(frozen=True, order=True)
class Problem:
    """One thing that is wrong. `check` is a stable word; all values are safe to print."""

    check: str
    subject: str
    declared: str
    live: str
    fix: str
    halts: bool = True


def problems(answer: dict[str, Any], gpus: int | None = None) -> list[Problem]:
    """Of the helper's `gpu-health`. `gpus` is the declared number; None: as many as the bus shows."""
    on_bus = [entry for entry in answer["pci"] if entry["kind"] == "gpu"]
    expected = gpus if gpus is not None else len(on_bus)
    found: list[Problem] = []
    if len(on_bus) != expected:
        fix = "seat the board anew, or mend `nvidia_driver.gpus`"
        found.append(Problem("on-the-bus", "GPUs on the PCI bus", str(expected), str(len(on_bus)), fix))
    if not expected and not on_bus:
        return found
    if answer["error"]:
        return sorted([*found, _no_library(answer), *_xids(answer)])
    asked = [device for device in answer["devices"] if not device.get("asleep")]
    lost = [device for device in asked if device["error"]]
    for device in lost:
        fix = "reboot the host; if it comes back lost, have the board seated anew or replaced"
        found.append(Problem("lost", f"GPU {device['index']}", "answers", str(device["error"]), fix))
    if len(answer["devices"]) < len(on_bus):
        fix = "look at `journalctl -k -g NVRM` for why the driver left one out"
        found.append(Problem("count", "GPUs that the driver has", str(len(on_bus)), str(len(answer["devices"])), fix))
    switched = any(entry["kind"] == "switch" for entry in answer["pci"])
    for device in asked:
        if not device["error"]:
            found += _device(device, switched)
    return sorted([*found, *_versions(answer), *_xids(answer)])


def _no_library(answer: dict[str, Any]) -> Problem:
    if answer["code"] == MISMATCH:
        fix = "reload the modules or reboot: `steelyard apply` does it where `nvidia_driver.restart` allows"
        return Problem("versions", "loaded module and library", "one version", str(answer["error"]), fix)
    if answer["code"] == NO_DRIVER:
        live = "module not loaded" if answer["loaded"] is None else str(answer["error"])
        return Problem("driver", "NVIDIA driver", "loaded", live, "see `journalctl -k -g nvidia`, `dkms status`, Secure Boot")
    fix = "declare `nvidia_driver.version`, and apply"
    return Problem("driver", "NVIDIA driver", "loaded", str(answer["error"]), fix)


def _versions(answer: dict[str, Any]) -> list[Problem]:
    loaded, library = (answer["loaded"] or {}).get("version"), answer.get("driver")
    if not loaded or not library or loaded == library:
        return []
    live = f"module {loaded}, library {library}"
    return [Problem("versions", "loaded module and library", "one version", live, "reload the modules or reboot")]


def _device(device: dict[str, Any], switched: bool) -> list[Problem]:
    name, bus = f"GPU {device['index']}", device["bus"]
    reset = DRAIN_RESET.format(bus=bus)
    found = []
    remap = device["remap"] or {}
    if remap.get("failure"):
        live = f"failed; {remap['uncorrectable']} rows by uncorrectable errors"
        found.append(Problem("remap", f"{name} row remapping", "no failure", live, "replace the board: it qualifies for RMA"))
    elif remap.get("pending") or device["retired_pending"]:
        found.append(Problem("remap", f"{name} row remapping", "none pending", "pending", reset))
    if device["ecc_uncorrected"]:
        live = str(device["ecc_uncorrected"])
        found.append(Problem("ecc", f"{name} uncorrected ECC errors", "0 since the driver was loaded", live, reset))
    links = device["links"] or {"has": 0, "active": 0}
    if links["active"] < links["has"]:
        live = f"{links['active']} of {links['has']}"
        found.append(Problem("links", f"{name} NVLinks up", "all", live, "look at `nvidia-smi nvlink --status`; " + reset))
    if switched and device["fabric"] and device["fabric"]["state"] != 3:
        fix = "see `journalctl -u nvidia-fabricmanager`: its version must equal the driver's"
        found.append(Problem("fabric", f"{name} NVLink fabric", "completed", f"state {device['fabric']['state']}", fix))
    if device["width"] and device["max_width"] and device["width"] < device["max_width"]:
        live = f"x{device['width']}"
        found.append(Problem("width", f"{name} PCIe width", f"x{device['max_width']}", live, "seat the board or riser anew"))
    held = [reason for reason in device["throttle"] or [] if reason in ("hardware slowdown", "hardware thermal", "power brake")]
    if held:
        fix = "check airflow, power supply and cables"
        found.append(Problem("throttle", f"{name} clocks", "not held down by hardware", ", ".join(held), fix, halts=False))
    if device["recovery"]:
        wanted = RECOVERY[device["recovery"]] if device["recovery"] < len(RECOVERY) else f"action {device['recovery']}"
        found.append(Problem("recovery", f"{name} recovery action", "none", wanted, f"drain the host, then {wanted}"))
    return found


def _xids(answer: dict[str, Any]) -> list[Problem]:
    found = []
    for entry in answer["xids"]:
        action = ACTIONS.get(entry["xid"])
        fix = action.value.replace("BUS", entry["bus"]) if action else "not in the catalogue: look it up at NVIDIA"
        times = f"{entry['count']} times since boot, last {entry.get('last', 'unknown')}"
        subject = f"Xid {entry['xid']} of {entry['bus']}"
        found.append(Problem("xid", subject, "none since boot", times, fix, halts=bool(action and action.halts)))
    return found
