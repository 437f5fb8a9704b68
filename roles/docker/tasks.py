"""Brings a host to Docker at a declared version, and its daemon to running with the declared keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pyinfra.api.deploy import deploy
from pyinfra.context import host

from steelyard.api.settings import settings_from
from steelyard.api.template import config_id, render
from steelyard.artifacts.repository_keys import dearmoured, trusted_key
from steelyard.modules.facts.docker import Docker
from steelyard.modules.facts.system import System, SystemState
from steelyard.modules.operations import containerd
from steelyard.modules.operations.apt import held, listed, pinned
from steelyard.modules.operations.docker import DROP_IN, daemon, drop_in
from steelyard.modules.operations.package import installed
from steelyard.modules.operations.path import file
from steelyard.modules.operations.rpm import locked, versions
from steelyard.modules.operations.unit import running
from steelyard.roles.nvidia_toolkit.settings import Settings as ToolkitSettings
from steelyard.roles.registry_mirror.measure import measured
from steelyard.roles.registry_mirror.mirrors import ordered
from steelyard.roles.registry_mirror.settings import HUB
from steelyard.roles.registry_mirror.settings import Settings as MirrorSettings
from steelyard.site.site import Site

from .settings import Settings

TEMPLATES = Path(__file__).parent / "templates"
FOREIGN = ("docker-ce", "docker-ce-cli", "containerd.io", "docker-buildx-plugin", "docker-compose-plugin")
REPO, RPM_KEY = "/etc/yum.repos.d/steelyard-docker.repo", "/etc/pki/rpm-gpg/steelyard-docker"
RPM_KEY_URL = "https://download.docker.com/linux/rhel/gpg"
SOURCE, KEY = "/etc/apt/sources.list.d/steelyard-docker.sources", "/usr/share/keyrings/steelyard-docker.gpg"


@deploy("docker")
def docker() -> None:
    """Packages, then the drop-in that stamps the daemon, then its keys, then the daemon itself."""
    wanted = settings_from(Settings, host.data)
    if wanted.source is None:
        return
    system = host.get_fact(System)
    if system.like == "rhel":
        _rpms(wanted, system)  # RHEL's own is podman
    elif wanted.source == "distro":
        _of_the_distribution(wanted, system)
    else:
        _of_docker(wanted, system)
    config = _config(wanted)
    file(name="Stamp the daemon", path=DROP_IN, content=drop_in(config))
    daemon(name="Configure the daemon", config=config)
    running(name="Run the daemon", unit="docker.service", files=(DROP_IN,))
    if "containerd" in settings_from(MirrorSettings, host.data).clients:
        _containerd()


def _containerd() -> None:
    """For programs that use it without Docker: mirrors by certs.d, and GPUs."""
    toolkit = settings_from(ToolkitSettings, host.data)
    mirrored = settings_from(MirrorSettings, host.data).mirrored()
    certs = "/etc/containerd/certs.d" if mirrored else None
    cdi, runtime = bool(toolkit.version and toolkit.cdi), bool(toolkit.version and toolkit.runtime)
    stamp = config_id(containerd.stamp_text(certs, cdi, runtime))
    text = f"# steelyard: role docker\n[Service]\nEnvironment=STEELYARD_CONFIG={stamp}\n"
    containerd.configured(name="Configure containerd", certs=certs, cdi=cdi, runtime=runtime)
    file(name="Stamp containerd", path=containerd.DROP_IN, content=text)
    running(name="Run containerd", unit="containerd.service", config=stamp, files=(containerd.DROP_IN,))


def _of_the_distribution(wanted: Settings, system: SystemState) -> None:
    # Debian split the client off in 13
    names = ("docker.io", "docker-cli") if system.release in ("13", "14") else ("docker.io",)
    if wanted.version is None:
        installed(name="Install Docker", packages=names)
    else:
        pinned(
            name="Install Docker's version",
            packages=dict.fromkeys(names, wanted.version),
            patterns=("docker*", "containerd*"),
        )
        held(name="Hold Docker", patterns=names, version=wanted.version)


def _of_docker(wanted: Settings, system: SystemState) -> None:
    url = wanted.url or f"https://download.docker.com/linux/{system.distro}"
    key = trusted_key(wanted.key_file, wanted.key_fingerprint, where="docker.key_file", origin=f"{url}/gpg")
    source = render(TEMPLATES / "docker.sources.j2", url=url, codename=system.codename, key=KEY)
    file(name="Place Docker's key", path=KEY, content=dearmoured(key))
    file(name="Add Docker's repository", path=SOURCE, content=source)
    listed(name="Fetch Docker's lists", files=(SOURCE, KEY), url=url)
    pins = dict.fromkeys(FOREIGN[:2], wanted.version or "") | dict.fromkeys(FOREIGN[2:], "")
    pinned(name="Install Docker's version", packages=pins, patterns=FOREIGN)
    if wanted.version is not None:
        held(name="Hold Docker", patterns=FOREIGN[:2], version=wanted.version)


def _rpms(wanted: Settings, system: SystemState) -> None:
    url = wanted.url or f"https://download.docker.com/linux/rhel/{system.release}/{system.arch}/stable"
    key = trusted_key(wanted.key_file, wanted.key_fingerprint, "docker.key_file", RPM_KEY_URL)
    file(name="Place Docker's key", path=RPM_KEY, content=key)
    file(name="Add Docker's repository", path=REPO, content=render(TEMPLATES / "docker.repo.j2", url=url, key=RPM_KEY))
    pins = dict.fromkeys(FOREIGN[:2], wanted.version or "") | dict.fromkeys(FOREIGN[2:], "")
    versions(name="Install Docker's version", packages=pins)
    if wanted.version is not None:
        locked(name="Lock Docker", packages=pins)


def _config(wanted: Settings) -> dict[str, Any]:
    """The operator's keys, the mirrors of Docker Hub, and what GPUs in containers need: one file, written once."""
    site: Site = host.data.site
    mirrors = settings_from(MirrorSettings, host.data)
    address = mirrors.address or site.address_of_group("mirror")
    config = wanted.keys()
    if "mirror" not in host.data.host_groups:
        urls = mirrors.urls_of(HUB, address)
        if len(urls) > 1:
            live = host.get_fact(Docker).info.get("RegistryConfig") or {}
            today = tuple(url.rstrip("/") for url in live.get("Mirrors") or [])
            urls = ordered(measured(urls, mirrors.probe_of(HUB)), today)
        local = [f"{address}:{registry.port}" for registry in mirrors.registries.values() if address]
        plain = [url.removeprefix("http://") for url in urls if url.startswith("http://")]
        _extend(config, "registry-mirrors", list(urls))
        _extend(config, "insecure-registries", sorted({*local, *plain}))
    for key, value in settings_from(ToolkitSettings, host.data).docker_keys().items():
        config[key] = {**value, **config.get(key, {})} if isinstance(value, dict) else config.get(key, value)
    return config


def _extend(config: dict[str, Any], key: str, values: list[str]) -> None:
    if values:
        config[key] = [*config.get(key, []), *(value for value in values if value not in config.get(key, []))]
