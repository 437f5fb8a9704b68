"""Brings GPU hosts to NVIDIA's container toolkit at one version, and to a CDI description that is of the loaded driver.

daemon.json is the role `docker`'s: NVIDIA's own `nvidia-ctk runtime configure --cdi.enabled` replaces its `features`.
"""

from __future__ import annotations

from pathlib import Path

from pyinfra.api.deploy import deploy
from pyinfra.context import host

from steelyard.api.settings import settings_from
from steelyard.api.template import render
from steelyard.artifacts.repository_keys import dearmoured, trusted_key
from steelyard.modules.facts.cdi import Cdi
from steelyard.modules.facts.driver import Driver
from steelyard.modules.facts.system import System
from steelyard.modules.operations.apt import held, listed, pinned
from steelyard.modules.operations.cdi import REFRESH, char_links, described
from steelyard.modules.operations.path import file
from steelyard.modules.operations.rpm import locked, versions
from steelyard.modules.operations.unit import running

from .checks import check_containers
from .settings import Settings

TEMPLATES = Path(__file__).parent / "templates"
PACKAGES = (
    "nvidia-container-toolkit",
    "nvidia-container-toolkit-base",
    "libnvidia-container-tools",
    "libnvidia-container1",
)
REPOSITORY = "https://nvidia.github.io/libnvidia-container/stable/deb/{arch}"
RPMS = "https://nvidia.github.io/libnvidia-container/stable/rpm/{arch}"
KEY_URL = "https://nvidia.github.io/libnvidia-container/gpgkey"
REPO, RPM_KEY = "/etc/yum.repos.d/steelyard-nvidia-container.repo", "/etc/pki/rpm-gpg/steelyard-nvidia-container"
SOURCE, KEY = (
    "/etc/apt/sources.list.d/steelyard-nvidia-container.sources",
    "/usr/share/keyrings/steelyard-nvidia-container.gpg",
)
PREFERENCES, UNIT = "/etc/apt/preferences.d/50-steelyard-nvidia-container", "/etc/systemd/system/steelyard-cdi.service"


@deploy("nvidia_toolkit")
def nvidia_toolkit() -> None:
    """Packages, then who describes the GPUs, then the description."""
    wanted = settings_from(Settings, host.data)
    if "gpu" not in host.data.host_groups or wanted.version is None:
        return
    system = host.get_fact(System)
    if system.like == "rhel":
        _rpms(wanted, wanted.version, system.arch)
    else:
        _debs(wanted, wanted.version, "arm64" if system.arch == "aarch64" else "amd64")
    if wanted.cdi and host.get_fact(Driver).gpus:
        _described(system.distro, system.release)
    check_containers()


def _debs(wanted: Settings, version: str, arch: str) -> None:
    url = (wanted.url or REPOSITORY).replace("{arch}", arch).rstrip("/")
    key = trusted_key(wanted.key_file, wanted.key_fingerprint, "nvidia_toolkit.key_file", KEY_URL)
    pins = render(TEMPLATES / "preferences.j2", names=" ".join(PACKAGES), version=version)
    file(name="Place the repository's key", path=KEY, content=dearmoured(key))
    file(
        name="Add the toolkit's repository",
        path=SOURCE,
        content=render(TEMPLATES / "toolkit.sources.j2", url=url, key=KEY),
    )
    file(name="Pin the version", path=PREFERENCES, content=pins)
    listed(name="Fetch the toolkit's lists", files=(SOURCE, KEY, PREFERENCES), url=url)
    pinned(name="Install the toolkit", packages=dict.fromkeys(PACKAGES, version), patterns=PACKAGES, preferences=pins)
    held(name="Hold the toolkit", patterns=PACKAGES, version=version)


def _rpms(wanted: Settings, version: str, arch: str) -> None:
    url = (wanted.url or RPMS).replace("{arch}", arch).rstrip("/")
    key = trusted_key(wanted.key_file, wanted.key_fingerprint, "nvidia_toolkit.key_file", KEY_URL)
    file(name="Place the repository's key", path=RPM_KEY, content=key)
    file(
        name="Add the toolkit's repository",
        path=REPO,
        content=render(TEMPLATES / "toolkit.repo.j2", url=url, key=RPM_KEY),
    )
    pins = dict.fromkeys(PACKAGES, version)
    versions(name="Install the toolkit", packages=pins)
    locked(name="Lock the toolkit", packages=pins)


def _described(distro: str, release: str) -> None:
    """By NVIDIA's own unit where that sees the module, else by ours; never by both, and never under /etc."""
    current = host.get_fact(Cdi)
    theirs = current.refreshed and current.matches
    if not theirs:
        # engines older than CDI 0.7 (Debian 12's) do not take the newer fields
        old = (distro, release) in (("debian", "12"), ("ubuntu", "22.04"))
        flags = " --feature-flag=no-additional-gids-for-device-nodes" if old else ""
        file(
            name="Write the unit of the description",
            path=UNIT,
            content=render(TEMPLATES / "cdi.service.j2", flags=flags),
        )
        running(name="Describe the GPUs at every boot", unit="steelyard-cdi.service", files=(UNIT,))
    described(name="Describe the GPUs", unit=REFRESH if theirs else "steelyard-cdi.service")
    char_links(name="Link the GPUs' devices")
