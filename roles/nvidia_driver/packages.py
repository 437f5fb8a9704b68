"""Packages that make a driver, by distribution. Pure data: no host is asked.

Sources: NVIDIA's driver installation guide (version locking, kernel modules, the renames of 590), its
gpu-driver-container, and the archives of Debian and Ubuntu. A branch in a package's name is no pin
(docs/design/nvidia.md).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from steelyard.hardware.distros import NAMES, family, is_supported
from steelyard.hardware.gpu_generations import Flavour

SIGNED_2022 = "EB693B3035CD5710E231E123A4B469963BF863CC"
# debian13 has a key of its own, because sqv refuses the older one's SHA-1 signature: its fingerprint is the operator's
# to say
KEYS = {"ubuntu2204": SIGNED_2022, "ubuntu2404": SIGNED_2022, "debian12": SIGNED_2022}
KEY_FILES = {
    "ubuntu2204": "3bf863cc.pub",
    "ubuntu2404": "3bf863cc.pub",
    "debian12": "3bf863cc.pub",
    "debian13": "8793F200.pub",
}
CUDA = "https://developer.download.nvidia.com/compute/cuda/repos/{distro}/{arch}"
RENAMED = 590  # from here on Ubuntu's packages have no branch in their names
PATTERNS = (
    "nvidia-*",
    "libnvidia-*",
    "libcuda1*",
    "cuda-drivers*",
    "firmware-nvidia-*",
    "xserver-xorg-video-nvidia*",
    "libnvcuvid*",
    "libxnvctrl*",
)
BLACKLIST = (
    "nvidia-.*",
    "libnvidia-.*",
    "libcuda1",
    "cuda-.*",
    "linux-image-.*",
    "linux-headers-.*",
    "linux-modules-.*",
)


@dataclass(frozen=True)
class PackageSet:
    """`first` are installed before the others; versions are empty where any will do."""

    first: dict[str, str] = field(default_factory=dict)
    driver: dict[str, str] = field(default_factory=dict)
    fabric: dict[str, str] = field(default_factory=dict)
    stream: str | None = None  # dnf's module stream
    problem: str = ""


def repository_name(distro: str, release: str) -> str:
    """Return the folder as NVIDIA names it: ubuntu2404, debian12, rhel9. Always the exact one: keys differ."""
    return f"{family(distro)}{release.replace('.', '')}"


def repository_arch(machine: str) -> str:
    return "sbsa" if machine == "aarch64" else machine


def packages(
    distro: str, release: str, source: str, version: str, flavour: Flavour, switched: bool, nvlink5: bool
) -> PackageSet:
    """The compute-only set: kernel module, CUDA driver library, NVML, nvidia-smi, persistence daemon."""
    if not is_supported(distro, release):
        return PackageSet(problem=f"{distro} {release} is not supported; the role is for {NAMES}")
    kind, branch, opened = family(distro), int(version.split(".")[0]), flavour is Flavour.OPEN
    fabric = _fabric(branch, version, nvlink5) if switched else {}
    if source == "distro":
        return _of_the_distribution(kind, version, branch, opened, switched)
    if kind == "rhel":
        module = "kmod-nvidia-open-dkms" if opened else "kmod-nvidia-latest-dkms"
        driver = dict.fromkeys(("nvidia-driver-cuda", module, "nvidia-persistenced"), version)
        return PackageSet({}, driver, fabric, f"nvidia-driver:{branch}-{'open' if opened else 'dkms'}")
    first = {f"nvidia-driver-pinning-{branch}": ""} if branch >= 580 else {}
    if kind == "debian":
        module = "nvidia-kernel-open-dkms" if opened else "nvidia-kernel-dkms"
        names: tuple[str, ...] = ("nvidia-driver-cuda", module, "nvidia-persistenced")
    else:
        suffix = "" if branch >= RENAMED else f"-{branch}"
        names = (
            f"libnvidia-compute{suffix}",
            f"nvidia-dkms{suffix}{'-open' if opened else ''}",
            f"nvidia-utils{suffix}",
            f"nvidia-compute-utils{suffix}",
        )
    return PackageSet(first, dict.fromkeys(names, version), fabric)


def _fabric(branch: int, version: str, nvlink5: bool) -> dict[str, str]:
    """Fabric Manager aborts unless it equals the driver exactly."""
    suffix = f"-{branch}" if branch < 580 else ""
    names = [f"nvidia-fabricmanager{suffix}", f"libnvidia-nscq{suffix}"]
    more = {"nvlsm": "", "infiniband-diags": ""} if nvlink5 else {}
    return {**dict.fromkeys(names, version), **more}


def _of_the_distribution(kind: str, version: str, branch: int, opened: bool, switched: bool) -> PackageSet:
    if kind == "rhel":
        return PackageSet(problem="RHEL has no NVIDIA driver of its own; declare `nvidia_driver.source: cuda`")
    if kind == "debian":
        if switched:
            return PackageSet(
                problem="Debian has no Fabric Manager, and this host has NVSwitches; declare `source: cuda`"
            )
        module = "nvidia-open-kernel-dkms" if opened else "nvidia-kernel-dkms"
        return PackageSet({}, dict.fromkeys((module, "libcuda1", "nvidia-smi"), version) | {"nvidia-persistenced": ""})
    server = f"-{branch}-server"
    names = (
        f"nvidia-headless{server}{'-open' if opened else ''}",
        f"nvidia-utils{server}",
        f"nvidia-compute-utils{server}",
    )
    fabric = {f"nvidia-fabricmanager-{branch}": version, f"libnvidia-nscq-{branch}": version} if switched else {}
    return PackageSet({}, dict.fromkeys(names, version), fabric)


def headers(image_metas: tuple[str, ...], bare_kernels: tuple[str, ...], kind: str) -> tuple[str, ...]:
    """Header packages: the meta package beside each image meta package, and those of kernels that have none yet."""
    if kind == "rhel":
        return tuple(sorted({f"kernel-devel-{kernel}" for kernel in bare_kernels}))
    metas = {name.replace("linux-image-", "linux-headers-", 1) for name in image_metas if not name.endswith("-dbg")}
    return tuple(sorted(metas | {f"linux-headers-{kernel}" for kernel in bare_kernels}))
