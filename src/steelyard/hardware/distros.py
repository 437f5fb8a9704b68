"""Distributions that hosts may have."""

from __future__ import annotations

RHEL_LIKE = ("rhel", "rocky", "almalinux", "centos", "ol")
SUPPORTED = frozenset(
    {("ubuntu", "22.04"), ("ubuntu", "24.04"), ("debian", "12"), ("debian", "13"), ("rhel", "8"), ("rhel", "9")}
)
NAMES = "Debian 12 or 13, Ubuntu 22.04 or 24.04, RHEL-like 8 or 9"


def family(distro: str) -> str:
    """os-release's ID, RHEL's rebuilds as rhel."""
    return "rhel" if distro in RHEL_LIKE else distro


def is_supported(distro: str, release: str) -> bool:
    """Whether a system is supported, by ID and VERSION_ID; minor releases of RHEL and its likes do not matter."""
    name = family(distro)
    return (name, release.split(".")[0] if name == "rhel" else release) in SUPPORTED
