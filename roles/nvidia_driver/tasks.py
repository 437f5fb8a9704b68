"""Brings a host to a pinned NVIDIA driver that is loaded, settled and held, and proves its GPUs before services
come.
"""

from __future__ import annotations

from pathlib import Path

from pyinfra.api.deploy import deploy
from pyinfra.context import host

from steelyard.api.settings import settings_from
from steelyard.api.template import render
from steelyard.api.turn import in_turn
from steelyard.api.unknown import declare_unknown
from steelyard.artifacts.helper import HELPER
from steelyard.artifacts.repository_keys import dearmoured, trusted_key
from steelyard.hardware.gpu_generations import Flavour, choose
from steelyard.modules.facts.apt import DistributionArchive
from steelyard.modules.facts.driver import Driver, DriverState
from steelyard.modules.facts.system import System, SystemState
from steelyard.modules.operations.apt import held, listed, pinned
from steelyard.modules.operations.driver import active, admitted, bootable, initramfs
from steelyard.modules.operations.gpu import burned_in, settled
from steelyard.modules.operations.package import installed
from steelyard.modules.operations.path import file, file_absent
from steelyard.modules.operations.rpm import locked, stream, versions
from steelyard.modules.operations.sysctl import value
from steelyard.modules.operations.unit import running, stopped

from .checks import check_driver
from .packages import (
    BLACKLIST,
    CUDA,
    KEY_FILES,
    KEYS,
    PATTERNS,
    PackageSet,
    headers,
    packages,
    repository_arch,
    repository_name,
)
from .settings import Settings

TEMPLATES = Path(__file__).parent / "templates"
SOURCE, KEY = "/etc/apt/sources.list.d/steelyard-cuda.sources", "/usr/share/keyrings/steelyard-cuda.gpg"
NONFREE = "/etc/apt/sources.list.d/steelyard-nonfree.sources"
REPO, RPM_KEY = "/etc/yum.repos.d/steelyard-cuda.repo", "/etc/pki/rpm-gpg/steelyard-cuda"
PREFERENCES, UNATTENDED = "/etc/apt/preferences.d/50-steelyard-nvidia", "/etc/apt/apt.conf.d/51steelyard-nvidia"
NOUVEAU = "/etc/modprobe.d/steelyard-nouveau.conf"
SETTINGS_UNIT = "steelyard-gpu-settings.service"


@deploy("nvidia_driver")
def nvidia_driver() -> None:
    """Refuse what could not work; then bring packages, module, daemons, settings, gate."""
    wanted = settings_from(Settings, host.data)
    if "gpu" not in host.data.host_groups or wanted.version is None:
        return
    system, current = host.get_fact(System), host.get_fact(Driver)
    asked = None if wanted.module == "auto" else Flavour(wanted.module)
    choice = choose(tuple(device.device for device in current.gpus), int(wanted.version.split(".")[0]), asked)
    flavour = choice.flavour or Flavour.OPEN
    chosen = packages(
        system.distro, system.release, wanted.source, wanted.version, flavour, current.switched, current.nvlink5
    )
    problem = chosen.problem or ("" if choice.flavour else choice.why)
    bootable(
        name="See that modules can be loaded",
        secure_boot=system.secure_boot,
        key_enrolled=system.key_enrolled,
        flavour_problem=problem,
    )
    if problem:
        return
    rebuild = "dracut --regenerate-all --force" if system.like == "rhel" else "update-initramfs -u -k all"
    file(name="Keep nouveau away", path=NOUVEAU, content=render(TEMPLATES / "nouveau.conf.j2"))
    initramfs(name="Renew the initial RAM disks", file=NOUVEAU, rebuild=rebuild)
    (_rpms if system.like == "rhel" else _debs)(wanted, system, chosen)
    services = host.data.site.services_on(host.data.host_name)
    with in_turn(*(service.turn for service in services if service.turn is not None and not service.lazy)):
        active(
            name="Load the driver",
            version=wanted.version,
            restart=wanted.restart,
            units=wanted.drain_units,
            wait_s=wanted.reboot_wait_s,
        )
    _what_is_not_known(wanted, current)
    if current.gpus:
        _daemons(wanted, current)
        _settings(wanted)
        if wanted.gate != "none":
            admitted(name="Admit the host", gpus=wanted.gpus)
        if wanted.gate == "burn-in":
            burned_in(name="Burn the host in", version=wanted.version)
    check_driver(wanted, current)


def _debs(wanted: Settings, system: SystemState, chosen: PackageSet) -> None:
    bare = tuple(kernel.release for kernel in system.kernels if not kernel.headers)
    needed = headers(system.image_metas, bare, system.like)
    if needed:
        installed(name="Install the headers of every kernel", packages=needed)
    others = ["Debian", "Ubuntu"] if wanted.source == "cuda" else ["NVIDIA"]
    version = str(wanted.version)
    pins = render(TEMPLATES / "preferences.j2", patterns=" ".join(PATTERNS), version=version, others=others)
    file(
        name="Keep unattended upgrades away",
        path=UNATTENDED,
        content=render(TEMPLATES / "unattended.conf.j2", blacklist=BLACKLIST),
    )
    if wanted.source == "cuda":
        url, key = _repository(wanted, system)
        file(name="Place the repository's key", path=KEY, content=dearmoured(key))
        file(
            name="Add NVIDIA's repository", path=SOURCE, content=render(TEMPLATES / "cuda.sources.j2", url=url, key=KEY)
        )
        file(name="Pin the version", path=PREFERENCES, content=pins)
        listed(name="Fetch NVIDIA's lists", files=(SOURCE, KEY, PREFERENCES), url=url)
    else:
        file_absent(name="Remove NVIDIA's repository", path=SOURCE)
        file(name="Pin the version", path=PREFERENCES, content=pins)
        _nonfree(system)
    if chosen.first:
        pinned(name="Install NVIDIA's pin of the branch", packages=chosen.first, patterns=PATTERNS, preferences=pins)
    pinned(name="Install the driver", packages={**chosen.driver, **chosen.fabric}, patterns=PATTERNS, preferences=pins)
    held(name="Hold the driver", patterns=PATTERNS, version=version)


def _nonfree(system: SystemState) -> None:
    """Debian keeps NVIDIA's packages in parts of its archive that an installer may have left out; Ubuntu has them
    on.
    """
    archive = host.get_fact(DistributionArchive, suite=system.codename)
    if system.distro == "debian" and archive is not None:
        parts = "contrib non-free non-free-firmware"
        text = render(TEMPLATES / "nonfree.sources.j2", archive=archive, suite=system.codename, components=parts)
        file(name="Add the archive's non-free parts", path=NONFREE, content=text)
        listed(
            name="Fetch the non-free lists",
            files=(NONFREE, PREFERENCES),
            url=f"{archive.uri}/dists/{system.codename}/non-free",
        )


def _rpms(wanted: Settings, system: SystemState, chosen: PackageSet) -> None:
    url, key = _repository(wanted, system)
    file(name="Place the repository's key", path=RPM_KEY, content=key)
    file(name="Add NVIDIA's repository", path=REPO, content=render(TEMPLATES / "cuda.repo.j2", url=url, key=RPM_KEY))
    bare = tuple(kernel.release for kernel in system.kernels if not kernel.headers)
    if bare:
        versions(name="Install the headers of every kernel", packages=dict.fromkeys(headers((), bare, "rhel"), ""))
    if chosen.stream:
        stream(name="Enable the branch's stream", stream=chosen.stream)
    versions(name="Install the driver", packages={**chosen.driver, **chosen.fabric})
    locked(name="Lock the driver's version", packages={**chosen.driver, **chosen.fabric})


def _repository(wanted: Settings, system: SystemState) -> tuple[str, bytes]:
    """Address and key of the exact distribution's repository. Raises KeyNotTrusted and SettingMissing."""
    from steelyard.errors import SettingMissing

    name = repository_name(system.distro, system.release)
    url = (wanted.url or CUDA).replace("{distro}", name).replace("{arch}", repository_arch(system.arch)).rstrip("/")
    fingerprint = wanted.key_fingerprint or KEYS.get(name)
    if fingerprint is None:
        known = ", ".join(sorted(KEYS))
        allowed = f"the 40 digits that NVIDIA publishes for {name}'s key (known here: {known})"
        raise SettingMissing(where=str(host.data.host_name), key="nvidia_driver.key_fingerprint", allowed=allowed)
    key_name = KEY_FILES.get(name, "D42D0685.pub")
    return url, trusted_key(wanted.key_file, fingerprint, "nvidia_driver.key_file", f"{url}/{key_name}")


def _what_is_not_known(wanted: Settings, current: DriverState) -> None:
    """What no look can tell before the module is there."""
    settled_by = "task 'Load the driver', during apply"
    if not current.gpus:
        because = "no NVIDIA GPU is on the PCI bus, so the module is installed and not loaded"
        declare_unknown("loaded driver", because=because, settled_by="a GPU")
    elif current.on_disk is None:
        declare_unknown("loaded driver", because="the module is built during the install", settled_by=settled_by)
    elif current.loaded != wanted.version and wanted.restart == "reboot" and current.loaded:
        declare_unknown("GPUs after the reboot", because="no one can look behind a reboot", settled_by=settled_by)


def _daemons(wanted: Settings, current: DriverState) -> None:
    if wanted.settings.persistence is not False:
        running(name="Run the persistence daemon", unit="nvidia-persistenced.service")
    if current.switched:
        running(name="Run the fabric manager", unit="nvidia-fabricmanager.service")


def _settings(wanted: Settings) -> None:
    declared = wanted.settings.wanted()
    if wanted.settings.numa_balancing is not None:
        balancing = "1" if wanted.settings.numa_balancing else "0"
        file(
            name="Write NUMA balancing",
            path="/etc/sysctl.d/50-steelyard-gpu.conf",
            content=f"kernel.numa_balancing = {balancing}\n",
        )
        value(name="Set NUMA balancing", key="kernel.numa_balancing", value=balancing)
    path = f"/etc/systemd/system/{SETTINGS_UNIT}"
    settings = " ".join(f"{key}={setting}" for key, setting in declared.items())
    if declared:
        file(
            name="Write the unit of GPU settings",
            path=path,
            content=render(TEMPLATES / "settings.service.j2", helper=HELPER, words=settings),
        )
        settled(name="Set the GPUs", wanted=declared)
        running(name="Set the GPUs at every boot", unit=SETTINGS_UNIT, files=(path,))
    else:
        stopped(name="Set no GPU at boot", unit=SETTINGS_UNIT)
        file_absent(name="Remove the unit of GPU settings", path=path)
