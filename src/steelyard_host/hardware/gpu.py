"""GPUs of this host through NVML, the PCI bus and the kernel log. Answers are facts; verdicts are the controller's.

Every getter is tried alone: a library older than pynvml lacks some of its functions, a GPU lacks some features, and a
lost GPU answers nothing while its neighbours live. None means "this driver or GPU does not say".
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from steelyard_host.hardware import mig
from steelyard_host.system import vanishing
from steelyard_host.wire.hardware import KernelModule, PciEntry, XidCount

PCI = Path("/sys/bus/pci/devices")
UNITS = Path("/etc/systemd/system")
LOADED = Path("/proc/driver/nvidia/version")
XID = re.compile(r"NVRM: Xid \((?:PCI:)?([0-9A-Fa-f:.]+)\): (\d+)")
LINKS = 36  # NVLinks that any GPU has at most


def bus_of(text: str) -> str:
    """A PCI address as sysfs writes it: NVML pads the domain to eight digits, the kernel log omits the function."""
    parts = re.match(r"(?:0000)?([0-9a-f]{4}):([0-9a-f]{2}):([0-9a-f]{2})(?:\.([0-7]))?", text.lower())
    return "%s:%s:%s.%s" % (parts[1], parts[2], parts[3], parts[4] or "0") if parts else text.lower()


def on_the_bus() -> tuple[PciEntry, ...]:
    """NVIDIA GPUs and NVSwitches as the bus has them; needs no driver. Widths are judged at rest, speeds are not."""
    entries = []
    for folder in sorted(PCI.glob("*")):
        read = _reader(folder)
        kind = read("class")[:6]
        if read("vendor") == "0x10de" and kind in ("0x0300", "0x0302", "0x0680"):
            driver = folder / "driver"
            entries.append(
                PciEntry(
                    bus=folder.name,
                    id=read("device")[2:],
                    kind="switch" if kind == "0x0680" else "gpu",
                    width=_number(read("current_link_width")),
                    max_width=_number(read("max_link_width")),
                    numa_node=_number(read("numa_node")),
                    asleep=read("power/runtime_status") == "suspended",
                    driver=driver.resolve().name if driver.exists() else None,
                )
            )
    return tuple(entries)


def loaded() -> KernelModule | None:
    """Version and flavour of the kernel module that is loaded; None where none is."""
    try:
        text = LOADED.read_text()
    except OSError:
        return None
    version = re.search(r"\b(\d{3}\.\d+(?:\.\d+)?)\b", text)
    return KernelModule(version[1] if version else "", "open" if "Open Kernel Module" in text else "proprietary")


def xids() -> tuple[XidCount, ...]:
    """Xids since boot, one entry per GPU and number, the last message of each."""
    command = ["journalctl", "--dmesg", "--boot", "--no-pager", "--output=short-iso", "--grep=NVRM: Xid"]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    counts: dict[tuple[str, int], XidCount] = {}
    for line in done.stdout.splitlines():
        matched = XID.search(line)
        if matched:
            key = bus_of(matched[1]), int(matched[2])
            before = counts[key].count if key in counts else 0
            counts[key] = XidCount(*key, count=before + 1, last=line.split(" ", 1)[0])
    return tuple(counts[key] for key in sorted(counts))


def health() -> dict[str, Any]:
    """Answers everything at once, as `GpuHealth` declares it: one process, one round trip."""
    bus = on_the_bus()
    asleep = {entry.bus for entry in bus if entry.asleep}
    return {"pci": bus, "loaded": loaded(), "xids": xids(), **nvml(asleep)}


def unusable(uuids: list[str], halting: set[int]) -> list[str]:
    """Reasons why a service must not start on these GPUs, a sentence each: restarting cures none of it.

    Where the driver says what a GPU needs, that counts; an older one is judged by the Xids of this boot, so there only
    a reboot clears it.
    """
    answer = nvml(set())
    if answer["error"]:
        return ["the driver does not answer: %s" % answer["error"]]
    reasons, logged = [], xids()
    devices = {device.get("uuid"): device for device in answer["devices"]}
    for uuid in uuids:
        device = devices.get(uuid)
        if device is None:
            reasons.append("%s is not there any more" % uuid)
        elif device["error"]:
            reasons.append("%s does not answer: %s" % (uuid, device["error"]))
        elif device.get("recovery") is not None:
            if device["recovery"]:
                reasons.append("%s waits for recovery action %s of its driver" % (uuid, device["recovery"]))
        else:
            numbers = sorted({entry.xid for entry in logged if entry.bus == device["bus"] and entry.xid in halting})
            if numbers:
                reasons.append("%s had Xid %s since boot" % (uuid, ", ".join(map(str, numbers))))
    return reasons


def memory() -> dict[str, Any]:
    """The memory that engines may take, as `HostMemory` declares it; cheap enough for every plan."""
    bus = on_the_bus()
    devices = nvml({entry.bus for entry in bus if entry.asleep}, brief=True)["devices"]
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {"pci": bus, "devices": devices, "memory_bytes": whole, "held": held()}


def held(root: Path | None = None, drop_in: str = "60-gpus.conf") -> dict[str, list[str]]:
    """UUIDs of each service's GPUs, as written for its next start. `root`: other than where units lie on disk."""
    uuids = {}
    for path in sorted((root or UNITS).glob("steelyard-*@*.service.d/" + drop_in)):
        matched = re.search(r"^Environment=CUDA_VISIBLE_DEVICES=(.+)$", vanishing.text(path) or "", re.MULTILINE)
        if matched:
            uuids[path.parent.name.split("@", 1)[1].removesuffix(".service.d")] = matched[1].split(",")
    return uuids


def nvml(asleep: set[str], brief: bool = False) -> dict[str, Any]:
    """Driver and devices by NVML, a document of the keys that `GpuHealth` and `GpuDevice` declare.

    `asleep` GPUs are not asked: asking would wake them. `brief`: names and memory only. NVML attaches all GPUs when it
    starts; told not to, it knows those only that somebody uses. So it is told so where one sleeps.

    `error` is NVML's sentence and `code` its number where the library does not start.
    """
    try:
        import pynvml
    except ImportError:
        return {"error": "pynvml is not in this helper", "code": None, "devices": []}
    try:
        pynvml.nvmlInitWithFlags(pynvml.NVML_INIT_FLAG_NO_ATTACH if asleep else 0)
    except pynvml.NVMLError as error:
        return {"error": str(error), "code": error.value, "devices": []}
    try:
        count = pynvml.nvmlDeviceGetCount()
        devices = [_device(pynvml, index, asleep, brief) for index in range(count)]
        unseen = sorted(asleep - {device.get("bus") for device in devices})
        devices += [
            {"index": count + number, "bus": bus, "error": None, "asleep": True} for number, bus in enumerate(unseen)
        ]
        cuda = _try(pynvml, pynvml.nvmlSystemGetCudaDriverVersion_v2)
        return {
            "driver": pynvml.nvmlSystemGetDriverVersion(),
            "cuda": cuda,
            "error": None,
            "code": 0,
            "devices": devices,
        }
    finally:
        pynvml.nvmlShutdown()


def _device(pynvml: Any, index: int, asleep: set[str], brief: bool = False) -> dict[str, Any]:
    """The document of one GPU; `error` says why where it does not answer at all."""
    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        bus = bus_of(_text(pynvml.nvmlDeviceGetPciInfo(handle).busId))
        if bus in asleep:
            return {"index": index, "bus": bus, "error": None, "asleep": True}
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
        document: dict[str, Any] = {
            "index": index,
            "bus": bus,
            "error": None,
            "name": _text(pynvml.nvmlDeviceGetName(handle)),
            "uuid": _text(pynvml.nvmlDeviceGetUUID(handle)),
            "memory_bytes": memory.total,
            "used_bytes": memory.used,
        }
    except pynvml.NVMLError as error:
        return {"index": index, "error": str(error)}
    for name, read in ({} if brief else _getters(pynvml, handle)).items():
        document[name] = _try(pynvml, read)
    return document


def _getters(pynvml: Any, handle: Any) -> dict[str, Callable[[], Any]]:
    uncorrected, volatile = pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, pynvml.NVML_VOLATILE_ECC
    return {
        "serial": lambda: _text(pynvml.nvmlDeviceGetSerial(handle)),
        "vbios": lambda: _text(pynvml.nvmlDeviceGetVbiosVersion(handle)),
        "capability": lambda: "%d.%d" % tuple(pynvml.nvmlDeviceGetCudaComputeCapability(handle)),
        "persistence": lambda: bool(pynvml.nvmlDeviceGetPersistenceMode(handle)),
        "compute_mode": lambda: ("default", "exclusive-thread", "prohibited", "exclusive-process")[
            pynvml.nvmlDeviceGetComputeMode(handle)
        ],
        "ecc": lambda: _pair(pynvml.nvmlDeviceGetEccMode(handle)),
        "ecc_uncorrected": lambda: pynvml.nvmlDeviceGetTotalEccErrors(handle, uncorrected, volatile),
        "retired_pending": lambda: bool(pynvml.nvmlDeviceGetRetiredPagesPendingStatus(handle)),
        "remap": lambda: _remap(pynvml.nvmlDeviceGetRemappedRows(handle)),
        "mig": lambda: _pair(pynvml.nvmlDeviceGetMigMode(handle)),
        "mig_layout": lambda: mig.layout(pynvml, handle),
        "width": lambda: pynvml.nvmlDeviceGetCurrPcieLinkWidth(handle),
        "max_width": lambda: pynvml.nvmlDeviceGetMaxPcieLinkWidth(handle),
        "power_limit_w": lambda: pynvml.nvmlDeviceGetPowerManagementLimit(handle) / 1000,
        "power_default_w": lambda: pynvml.nvmlDeviceGetPowerManagementDefaultLimit(handle) / 1000,
        "power_range_w": lambda: [
            value / 1000 for value in pynvml.nvmlDeviceGetPowerManagementLimitConstraints(handle)
        ],
        "temperature_c": lambda: pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU),
        "throttle": lambda: _reasons(pynvml, handle),
        "links": lambda: _links(pynvml, handle),
        "fabric": lambda: _fabric(pynvml, handle),
        "recovery": lambda: _recovery(pynvml, handle),
        "processes": lambda: [process.pid for process in pynvml.nvmlDeviceGetComputeRunningProcesses(handle)],
    }


def _remap(rows: Any) -> dict[str, int]:
    correctable, uncorrectable, pending, failure = rows
    return {"correctable": correctable, "uncorrectable": uncorrectable, "pending": pending, "failure": failure}


def _reasons(pynvml: Any, handle: Any) -> list[str]:
    """Why clocks are held down, where that is a fault or a limit; idle and settings of ours are neither."""
    bits = pynvml.nvmlDeviceGetCurrentClocksEventReasons(handle)
    names = {
        0x4: "power cap",
        0x8: "hardware slowdown",
        0x20: "software thermal",
        0x40: "hardware thermal",
        0x80: "power brake",
    }
    return [name for bit, name in names.items() if bits & bit]


def _links(pynvml: Any, handle: Any) -> dict[str, int]:
    """NVLinks that the GPU has, and how many of them are up."""
    has = active = 0
    for link in range(LINKS):
        try:
            active += int(pynvml.nvmlDeviceGetNvLinkState(handle, link))
            has += 1
        except pynvml.NVMLError as error:
            if error.value == pynvml.NVML_ERROR_FUNCTION_NOT_FOUND:
                raise
    return {"has": has, "active": active}


def _fabric(pynvml: Any, handle: Any) -> dict[str, int]:
    """State 3 is completed; `status` is NVML's number for how that went."""
    info = pynvml.c_nvmlGpuFabricInfo_v2_t()
    pynvml.nvmlDeviceGetGpuFabricInfoV(handle, pynvml.byref(info))
    return {"state": info.state, "status": info.status, "health": info.healthMask}


def _recovery(pynvml: Any, handle: Any) -> int | None:
    """What the driver itself wants done: 0 nothing, 1 reset, 2 reboot, 3 drain, 4 drain and reset, ..."""
    value = pynvml.nvmlDeviceGetFieldValues(handle, [pynvml.NVML_FI_DEV_GET_GPU_RECOVERY_ACTION])[0]
    return int(value.value.uiVal) if value.nvmlReturn == 0 else None


def _try(pynvml: Any, read: Callable[[], Any]) -> Any:
    try:
        return read()
    except (pynvml.NVMLError, pynvml.NVMLLibraryMismatchError, AttributeError):
        return None


def _pair(values: Any) -> dict[str, bool]:
    current, pending = values
    return {"current": bool(current), "pending": bool(pending)}


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _number(text: str) -> int | None:
    return int(text) if re.fullmatch(r"-?\d+", text) else None


def _reader(folder: Path) -> Callable[[str], str]:
    def read(name: str) -> str:
        try:
            return (folder / name).read_text().strip()
        except OSError:
            return ""

    return read


def settle(only: int | None, settings: dict[str, str]) -> list[str]:
    """Sets these on one GPU or all, `NAME.INDEX` on that GPU only; sentences about what was not taken."""
    import pynvml

    refused = []
    pynvml.nvmlInit()
    try:
        for index in range(pynvml.nvmlDeviceGetCount()) if only is None else [only]:
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            for word, value in settings.items():
                name, _, number = word.partition(".")
                if number and int(number) != index:
                    continue
                try:
                    _set(pynvml, handle, name, value)
                except (pynvml.NVMLError, mig.LayoutWrong) as error:
                    refused.append("GPU %d: %s=%s: %s" % (index, name, value, error))
    finally:
        pynvml.nvmlShutdown()
    return refused


def _set(pynvml: Any, handle: Any, name: str, value: str) -> None:
    if name == "persistence":
        pynvml.nvmlDeviceSetPersistenceMode(handle, int(value))
    elif name == "power_limit":
        pynvml.nvmlDeviceSetPowerManagementLimit(handle, int(value) * 1000)
    elif name == "clocks":
        least, most = value.split(",")
        pynvml.nvmlDeviceSetGpuLockedClocks(handle, int(least), int(most))
    elif name == "compute_mode":
        pynvml.nvmlDeviceSetComputeMode(handle, int(value))
    elif name == "ecc":
        pynvml.nvmlDeviceSetEccMode(handle, int(value))
    elif name == "mig":
        pynvml.nvmlDeviceSetMigMode(handle, int(value))
    else:
        mig.lay_out(pynvml, handle, value.split(","))
