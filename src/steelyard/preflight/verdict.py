"""Compares what a host said and did with the floor: one measure per line, each with what to do where it is below."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from steelyard.distros import NAMES, is_supported

GB, GBIT = 10**9, 10**9


class Grade(StrEnum):
    """GOOD: as recommended. LOW: enough to run. BELOW: under the floor. UNKNOWN: not measured."""

    GOOD = "good"
    LOW = "low"
    BELOW = "below"
    UNKNOWN = "unknown"


class Floor(Protocol):
    """What is asked of a host; the role's settings have these."""

    cores: int
    memory_gb: float
    storage_gb: float
    free_gb: float
    ssd: bool
    raid: str | None
    disk_mb_s: float
    link_gbit_s: float
    link_least_gbit_s: float
    rtt_ms: float
    rtt_most_ms: float
    clock_s: float


@dataclass(frozen=True)
class Measure:
    """One line of a verdict. `value`, `least` and `wanted` are numbers of `unit` where there are some; else words say it."""

    name: str
    grade: Grade
    live: str
    declared: str
    fix: str = ""
    value: float | None = None
    wanted: float | None = None
    unit: str = ""


@dataclass(frozen=True)
class Link:
    """A link as one end measured it."""

    peer: str
    bits_per_s: float | None
    rtt_ms: float | None
    mtu_passes: bool
    error: str | None = None


def _at_least(name: str, value: float, wanted: float, unit: str, fix: str, least: float | None = None) -> Measure:
    floor = wanted if least is None else least
    grade = Grade.GOOD if value >= wanted else Grade.LOW if value >= floor else Grade.BELOW
    declared = f"at least {floor:g} {unit}" + (f", {wanted:g} recommended" if floor != wanted else "")
    return Measure(name, grade, f"{value:.4g} {unit}", declared, "" if grade is Grade.GOOD else fix, value, wanted, unit)


def _yes(name: str, well: bool | None, live: str, declared: str, fix: str, worst: Grade = Grade.BELOW) -> Measure:
    grade = Grade.UNKNOWN if well is None else Grade.GOOD if well else worst
    return Measure(name, grade, live, declared, "" if well else fix)


def of_hardware(answer: dict[str, Any], floor: Floor, skew_s: float | None) -> list[Measure]:
    """Everything that was read. `skew_s` is how far the host's clock is from this machine's, at least; None: not known."""
    solid = [disk for disk in answer["disks"] if not disk["rotational"]]
    found = [
        _at_least("cores", answer["cores"], floor.cores, "cores", "give the host more cores, or lower `preflight.cores`"),
        # firmware and kernel keep some of what is built in
        _at_least("memory", answer["memory_bytes"] / GB * 1.03, floor.memory_gb, "GB", "add memory"),
        _at_least("storage", answer["storage_bytes"] / GB, floor.storage_gb, "GB", "put `model_root` on a larger file system"),
        _at_least("free space", answer["free_bytes"] / GB, floor.free_gb, "GB", "make room below `model_root`"),
    ]
    if floor.ssd:
        live = (
            ", ".join(f"{disk['name']} {'SSD' if not disk['rotational'] else 'rotating'}" for disk in answer["disks"])
            or "no disk is shown"
        )
        well = bool(solid) if answer["disks"] else None
        found.append(_yes("SSD", well, live, "an SSD", "put models on an SSD: a load reads all of them"))
    if floor.raid is not None:
        levels = ", ".join(answer["raid"]) or "no software RAID"
        found.append(
            _yes("RAID", floor.raid in answer["raid"], levels, floor.raid, f"build {floor.raid}, or take `preflight.raid` out")
        )
    if answer["clock"]["synchronized"] is not None or skew_s is not None:
        well = answer["clock"]["synchronized"] is not False and (skew_s is None or skew_s <= floor.clock_s)
        live = f"{'not ' if answer['clock']['synchronized'] is False else ''}synchronized" + (
            f", off by {skew_s:.1f} s" if skew_s else ""
        )
        close = skew_s is None or skew_s <= floor.clock_s
        found.append(_yes("clock", well, live, f"synchronized, within {floor.clock_s:g} s", "enable systemd-timesyncd or chrony",
                          Grade.LOW if close else Grade.BELOW))  # fmt: skip
    found.append(_yes("Secure Boot", not answer["secure_boot"], "on" if answer["secure_boot"] else "off", "off, or its key enrolled",
                      "enrol DKMS's key at the console, or turn it off", Grade.LOW))  # fmt: skip
    distro = answer["distro"]
    found.append(_yes("distribution", is_supported(*distro.rpartition(" ")[::2]), f"{distro}, kernel {answer['kernel']}", NAMES,
                      "install one of them"))  # fmt: skip
    for name, resolves in answer["names"].items():
        found.append(
            _yes(f"name {name}", resolves, "resolves" if resolves else "does not resolve", "resolves", "mend /etc/resolv.conf")
        )
    if answer["acs"] and answer["iommu"]:
        fix = "turn both off in the firmware where no VMs run here: GPUs then reach each other directly"
        found.append(_yes("IOMMU", False, "on, with ACS", "off, or without ACS", fix, Grade.LOW))
    if answer["acs"]:
        live = f"on at {len(answer['acs'])} bridges"
        found.append(
            _yes("ACS", False, live, "off for peer-to-peer", "turn it off in the firmware, where no VMs run here", Grade.LOW)
        )
    return found


def of_gpus(answer: dict[str, Any]) -> list[Measure]:
    """PCIe width at rest: the speed drops at idle, the width does not."""
    found = []
    for device in answer["pci"]:
        if device["kind"] == "gpu" and device["width"] and device["max_width"]:
            name = f"PCIe width of {device['bus']}"
            found.append(_at_least(name, device["width"], device["max_width"], "lanes", "seat the board or riser anew"))
    return found


def of_disk(answer: dict[str, Any] | None, floor: Floor) -> Measure:
    if answer is None or answer["bytes_per_s"] is None:
        why = answer["error"] if answer else "fio is not installed"
        return Measure("disk read", Grade.UNKNOWN, f"not measured: {why}", f"at least {floor.disk_mb_s:g} MB/s", TOOLS)
    return _at_least("disk read", answer["bytes_per_s"] / 10**6, floor.disk_mb_s, "MB/s", "use a faster disk for models")


TOOLS = "steelyard apply --deploy preflight installs fio and iperf3"


def of_link(link: Link, floor: Floor) -> list[Measure]:
    """Rate, delay and MTU of one link."""
    name = f"to {link.peer}"
    if link.bits_per_s is None:
        return [
            Measure(
                f"rate {name}",
                Grade.UNKNOWN,
                f"not measured: {link.error}",
                f"at least {floor.link_least_gbit_s:g} Gbit/s",
                TOOLS,
            )
        ]
    rate = _at_least(f"rate {name}", link.bits_per_s / GBIT, floor.link_gbit_s, "Gbit/s", "check cable, switch port and bonding",
                     floor.link_least_gbit_s)  # fmt: skip
    found = [rate]
    if link.rtt_ms is not None:
        grade = Grade.GOOD if link.rtt_ms < floor.rtt_ms else Grade.LOW if link.rtt_ms < floor.rtt_most_ms else Grade.BELOW
        declared = f"under {floor.rtt_most_ms:g} ms, {floor.rtt_ms:g} recommended"
        fix = "" if grade is Grade.GOOD else "put the hosts into one site"
        found.append(
            Measure(f"round trip {name}", grade, f"{link.rtt_ms:.3g} ms", declared, fix, link.rtt_ms, floor.rtt_ms, "ms")
        )
    found.append(_yes(f"MTU {name}", link.mtu_passes, "passes whole" if link.mtu_passes else "packets of its size are lost",
                      "passes whole", "set one MTU on hosts and switches"))  # fmt: skip
    return found


def worst(measures: list[Measure]) -> Grade:
    """Of a host as a whole."""
    order = (Grade.BELOW, Grade.UNKNOWN, Grade.LOW)
    return next((grade for grade in order if any(measure.grade is grade for measure in measures)), Grade.GOOD)
