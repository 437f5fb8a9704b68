"""The hardware of a host as its helper tells of it: `gpu-health`, `memory`, `doctor`, `hardware`, `disk`, `link`.

Sizes are bytes. None means that driver or GPU does not say; a key that is missing means the same.
"""

from __future__ import annotations

from typing import NamedTuple


class PciEntry(NamedTuple):
    """A GPU or an NVSwitch on the PCI bus. `kind`: gpu or switch; `width`: PCIe lanes in use; `id`: of the device."""

    kind: str
    bus: str = ""
    id: str = ""
    width: int | None = None
    max_width: int | None = None
    numa_node: int | None = None
    asleep: bool = False
    driver: str | None = None


class KernelModule(NamedTuple):
    """The NVIDIA kernel module that is loaded. `flavour`: open or proprietary."""

    version: str
    flavour: str = ""


class XidCount(NamedTuple):
    """One Xid of one GPU since boot. `last`: the time of the last one, as the journal writes it."""

    bus: str
    xid: int
    count: int  # type: ignore[assignment]  # a key of the wire, and a method of tuples
    last: str = "unknown"


class BootSetting(NamedTuple):
    """A setting that changes with a reset: what it is, and what it will be."""

    current: bool
    pending: bool


class RowRemap(NamedTuple):
    """Rows of memory that were remapped, by the kind of error; `pending` and `failure` are 0 or 1."""

    correctable: int = 0
    uncorrectable: int = 0
    pending: int = 0
    failure: int = 0


class NvLinks(NamedTuple):
    """NVLinks that a GPU has, and how many of them are up."""

    has: int
    active: int


class Fabric(NamedTuple):
    """The state of a GPU in the NVLink fabric; state 3 is completed."""

    state: int
    status: int = 0
    health: int = 0


class MigInstance(NamedTuple):
    """A part of a GPU in MIG mode. `uuid`: empty where no program can use it."""

    profile: str
    uuid: str = ""


class GpuDevice(NamedTuple):
    """A GPU as NVML gives it. `error`: why it does not answer; one that is `asleep` was not asked, which would wake it.

    `width`: PCIe lanes; `recovery`: what its driver wants done, 0 nothing; `throttle`: why clocks are held down.
    """

    index: int = 0  # type: ignore[assignment]  # a key of the wire, and a method of tuples
    error: str | None = None
    bus: str | None = None
    asleep: bool = False
    name: str | None = None
    uuid: str | None = None
    memory_bytes: int | None = None
    used_bytes: int | None = None
    serial: str | None = None
    vbios: str | None = None
    capability: str | None = None
    persistence: bool | None = None
    compute_mode: str | None = None
    ecc: BootSetting | None = None
    ecc_uncorrected: int | None = None
    retired_pending: bool | None = None
    remap: RowRemap | None = None
    mig: BootSetting | None = None
    mig_layout: tuple[MigInstance, ...] | None = None
    width: int | None = None
    max_width: int | None = None
    power_limit_w: float | None = None
    power_default_w: float | None = None
    power_range_w: tuple[float, float] | None = None
    temperature_c: int | None = None
    throttle: tuple[str, ...] | None = None
    links: NvLinks | None = None
    fabric: Fabric | None = None
    recovery: int | None = None
    processes: tuple[int, ...] | None = None

    @property
    def answers(self) -> bool:
        """Whether it was asked, and said something."""
        return not self.error and not self.asleep


class GpuHealth(NamedTuple):
    """The answer of `gpu-health`. `error` and `code`: NVML's sentence and number where the library does not start."""

    pci: tuple[PciEntry, ...]
    loaded: KernelModule | None
    xids: tuple[XidCount, ...]
    devices: tuple[GpuDevice, ...]
    error: str | None
    code: int | None = None
    driver: str | None = None
    cuda: int | None = None


class HostMemory(NamedTuple):
    """The answer of `memory`: what engines may take. `held`: UUIDs of the GPUs that each service has."""

    devices: tuple[GpuDevice, ...]
    pci: tuple[PciEntry, ...]
    memory_bytes: int
    held: dict[str, tuple[str, ...]] = {}


class Disk(NamedTuple):
    """A whole block device."""

    name: str
    bytes: int
    rotational: bool


class Interface(NamedTuple):
    """A network interface that is up. `mbit`: None where its driver does not say, as of a virtual one."""

    name: str
    mbit: int | None
    mtu: int


class HostClock(NamedTuple):
    """A host's clock. `now`: seconds since 1970; `synchronized`: None where nobody says."""

    now: float
    synchronized: bool | None


class HostHardware(NamedTuple):
    """The answer of `hardware`, read without any load.

    `storage_bytes` and `free_bytes`: of the file system that models will lie on; `acs`: bridges that redirect traffic
    between GPUs; `names`: whether each resolves; `tools`: whether each is installed.
    """

    cores: int
    memory_bytes: int
    disks: tuple[Disk, ...]
    raid: tuple[str, ...]
    storage_bytes: int
    free_bytes: int
    distro: str
    kernel: str
    iommu: bool
    acs: tuple[str, ...]
    secure_boot: bool
    clock: HostClock
    names: dict[str, bool]
    tools: dict[str, bool]
    links: tuple[Interface, ...] = ()


class DiskRate(NamedTuple):
    """The answer of `disk`: bytes per second of a sequential read, or why it was not measured."""

    bytes_per_s: float | None
    error: str | None


class LinkServer(NamedTuple):
    """The answer of `link-serve`: why nobody serves, or None."""

    error: str | None


class LinkRate(NamedTuple):
    """The answer of `link`. `mtu_passes`: whether packets of the MTU's size pass whole; `rtt_ms`: there and back."""

    bits_per_s: float | None
    rtt_ms: float | None
    mtu_passes: bool
    error: str | None = None
