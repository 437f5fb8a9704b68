"""Compares what a host said and did with the floor: one measure per line, each with what to do where it is below."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from steelyard.hardware.distros import NAMES, is_supported
from steelyard_host.wire.hardware import DiskRate, HostClock, HostHardware, PciEntry

GB, GBIT = 10**9, 10**9


class Grade(StrEnum):
    """GOOD: as recommended. LOW: enough to run. BELOW: under the floor. UNKNOWN: not measured."""

    GOOD = "good"
    LOW = "low"
    BELOW = "below"
    UNKNOWN = "unknown"


class Floor(Protocol):
    """The demands on a host; the settings of the role `preflight` have these."""

    @property
    def cores(self) -> int: ...

    @property
    def memory_gb(self) -> float: ...

    @property
    def storage_gb(self) -> float: ...

    @property
    def free_gb(self) -> float: ...

    @property
    def ssd(self) -> bool: ...

    @property
    def raid(self) -> str | None: ...

    @property
    def disk_mb_s(self) -> float: ...

    @property
    def link_gbit_s(self) -> float: ...

    @property
    def link_least_gbit_s(self) -> float: ...

    @property
    def rtt_ms(self) -> float: ...

    @property
    def rtt_most_ms(self) -> float: ...

    @property
    def clock_s(self) -> float: ...


@dataclass(frozen=True)
class Measure:
    """One line of a verdict. `value` and `wanted` are numbers of `unit` where there are some; else words say it."""

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
    return Measure(
        name, grade, f"{value:.4g} {unit}", declared, "" if grade is Grade.GOOD else fix, value, wanted, unit
    )


def _yes(name: str, ok: bool | None, live: str, declared: str, fix: str, worst: Grade = Grade.BELOW) -> Measure:
    grade = Grade.UNKNOWN if ok is None else Grade.GOOD if ok else worst
    return Measure(name, grade, live, declared, "" if ok else fix)


def hardware_measures(hardware: HostHardware, floor: Floor, skew_s: float | None) -> list[Measure]:
    """The measures of everything that was read without load.

    `skew_s` is how far the host's clock is from this machine's, at least; None: not known.
    """
    storage, free = hardware.storage_bytes / GB, hardware.free_bytes / GB
    measures = [
        _at_least(
            "cores", hardware.cores, floor.cores, "cores", "give the host more cores, or lower `preflight.cores`"
        ),
        # firmware and kernel keep some of what is built in
        _at_least("memory", hardware.memory_bytes / GB * 1.03, floor.memory_gb, "GB", "add memory"),
        _at_least("storage", storage, floor.storage_gb, "GB", "put `model_root` on a larger file system"),
        _at_least("free space", free, floor.free_gb, "GB", "make room below `model_root`"),
    ]
    measures += _disks(hardware, floor)
    if hardware.clock.synchronized is not None or skew_s is not None:
        measures.append(_clock(hardware.clock, floor, skew_s))
    measures += _system(hardware)
    for name, resolves in hardware.names.items():
        live = "resolves" if resolves else "does not resolve"
        measures.append(_yes(f"name {name}", resolves, live, "resolves", "mend /etc/resolv.conf"))
    return measures + _peer_to_peer(hardware)


def _disks(hardware: HostHardware, floor: Floor) -> list[Measure]:
    measures = []
    if floor.ssd:
        kinds = (f"{disk.name} {'SSD' if not disk.rotational else 'rotating'}" for disk in hardware.disks)
        has_ssd = any(not disk.rotational for disk in hardware.disks) if hardware.disks else None
        fix = "put models on an SSD: a load reads all of them"
        measures.append(_yes("SSD", has_ssd, ", ".join(kinds) or "no disk is shown", "an SSD", fix))
    if floor.raid is not None:
        levels = ", ".join(hardware.raid) or "no software RAID"
        fix = f"build {floor.raid}, or take `preflight.raid` out"
        measures.append(_yes("RAID", floor.raid in hardware.raid, levels, floor.raid, fix))
    return measures


def _clock(clock: HostClock, floor: Floor, skew_s: float | None) -> Measure:
    close = skew_s is None or skew_s <= floor.clock_s
    ok = clock.synchronized is not False and close
    live = f"{'not ' if clock.synchronized is False else ''}synchronized" + (
        f", off by {skew_s:.1f} s" if skew_s else ""
    )
    declared = f"synchronized, within {floor.clock_s:g} s"
    worst = Grade.LOW if close else Grade.BELOW
    return _yes("clock", ok, live, declared, "enable systemd-timesyncd or chrony", worst)


def _system(hardware: HostHardware) -> list[Measure]:
    boot_live = "on" if hardware.secure_boot else "off"
    boot_fix = "enrol DKMS's key at the console, or turn it off"
    supported = is_supported(*hardware.distro.rpartition(" ")[::2])
    live = f"{hardware.distro}, kernel {hardware.kernel}"
    return [
        _yes("Secure Boot", not hardware.secure_boot, boot_live, "off, or its key enrolled", boot_fix, Grade.LOW),
        _yes("distribution", supported, live, NAMES, "install one of them"),
    ]


def _peer_to_peer(hardware: HostHardware) -> list[Measure]:
    """What keeps GPUs from reaching each other directly."""
    measures = []
    if hardware.acs and hardware.iommu:
        fix = "turn both off in the firmware where no VMs run here: GPUs then reach each other directly"
        measures.append(_yes("IOMMU", False, "on, with ACS", "off, or without ACS", fix, Grade.LOW))
    if hardware.acs:
        fix = "turn it off in the firmware, where no VMs run here"
        live = f"on at {len(hardware.acs)} bridges"
        measures.append(_yes("ACS", False, live, "off for peer-to-peer", fix, Grade.LOW))
    return measures


def gpu_measures(devices: Iterable[PciEntry]) -> list[Measure]:
    """The PCIe width of each GPU at rest: the speed drops at idle, the width does not."""
    return [
        _at_least(
            f"PCIe width of {device.bus}", device.width, device.max_width, "lanes", "seat the board or riser anew"
        )
        for device in devices
        if device.kind == "gpu" and device.width and device.max_width
    ]


def disk_measure(disk: DiskRate | None, floor: Floor) -> Measure:
    """The measure of a disk's rate; None where nothing can measure it."""
    if disk is None or disk.bytes_per_s is None:
        reason = disk.error if disk else "fio is not installed"
        live = f"not measured: {reason}"
        return Measure("disk read", Grade.UNKNOWN, live, f"at least {floor.disk_mb_s:g} MB/s", TOOLS)
    return _at_least("disk read", disk.bytes_per_s / 10**6, floor.disk_mb_s, "MB/s", "use a faster disk for models")


TOOLS = "steelyard apply --deploy preflight installs fio and iperf3"


def link_measures(link: Link, floor: Floor) -> list[Measure]:
    """The measures of one link: rate, delay and MTU."""
    name = f"to {link.peer}"
    if link.bits_per_s is None:
        declared = f"at least {floor.link_least_gbit_s:g} Gbit/s"
        return [Measure(f"rate {name}", Grade.UNKNOWN, f"not measured: {link.error}", declared, TOOLS)]
    least, fix = floor.link_least_gbit_s, "check cable, switch port and bonding"
    measures = [_at_least(f"rate {name}", link.bits_per_s / GBIT, floor.link_gbit_s, "Gbit/s", fix, least)]
    if link.rtt_ms is not None:
        measures.append(_round_trip(f"round trip {name}", link.rtt_ms, floor))
    live = "passes whole" if link.mtu_passes else "packets of its size are lost"
    fix = "set one MTU on hosts and switches"
    return [*measures, _yes(f"MTU {name}", link.mtu_passes, live, "passes whole", fix)]


def _round_trip(name: str, rtt_ms: float, floor: Floor) -> Measure:
    grade = Grade.GOOD if rtt_ms < floor.rtt_ms else Grade.LOW if rtt_ms < floor.rtt_most_ms else Grade.BELOW
    declared = f"under {floor.rtt_most_ms:g} ms, {floor.rtt_ms:g} recommended"
    fix = "" if grade is Grade.GOOD else "put the hosts into one site"
    return Measure(name, grade, f"{rtt_ms:.3g} ms", declared, fix, rtt_ms, floor.rtt_ms, "ms")


def worst(measures: Sequence[Measure]) -> Grade:
    """The grade of a host as a whole."""
    order = (Grade.BELOW, Grade.UNKNOWN, Grade.LOW)
    return next((grade for grade in order if any(measure.grade is grade for measure in measures)), Grade.GOOD)
