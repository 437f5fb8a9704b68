"""Brings mirror hosts to one registry per upstream, and every other host's containerd and podman to asking them.

Docker's own mirrors are keys of daemon.json: the role `docker` writes that file, with what this role's settings say.
"""

from __future__ import annotations

from pathlib import Path

from pyinfra.api.deploy import deploy
from pyinfra.context import host

from steelyard.modules.operations.package import installed
from steelyard.modules.operations.path import content, folder
from steelyard.modules.operations.unit import running, stopped
from steelyard.rendering import config_id, render
from steelyard.settings import settings_from
from steelyard.site import Site

from .checks import check_mirrors, check_registries
from .measure import in_order
from .settings import Registry, Settings

HERE = Path(__file__).parent
AT = "/etc/steelyard/registries"
PODMAN = "/etc/containers/registries.conf.d/50-steelyard.conf"
UNIT = "/etc/systemd/system/steelyard-registry@.service"


def own(name: str) -> str:
    return (HERE / "files" / name).read_text()


@deploy("registry_mirror")
def registry_mirror() -> None:
    """On hosts of group `mirror`: one process per declared registry."""
    wanted = settings_from(Settings, host.data)
    if "mirror" not in host.data.host_groups or not wanted.registries:
        return
    installed(name="Install the registry", packages=("docker-registry", "skopeo"))
    stopped(name="Stop the distribution's registry", unit="docker-registry.service")
    folder(name="Make the folder of registries", path=AT)
    for script in ("registry-start", "registry-gc"):
        content(name=f"Install {script}", path=f"/usr/lib/steelyard/{script}", content=own(script), mode="0755")
    content(name="Install registry-upstream", path="/usr/lib/steelyard/registry-upstream", content=own("registry-upstream"))
    content(name="Write the unit of registries", path=UNIT, content=own("registry@.service"))
    for name, registry in host.loop(wanted.registries.items()):
        _registry(name, registry)
    check_registries(wanted)


def _registry(name: str, registry: Registry) -> None:
    config = render(HERE / "templates/registry.yml.j2", name=name, registry=registry, offline=False)
    spare = render(HERE / "templates/registry.yml.j2", name=name, registry=registry, offline=True)
    stamp = config_id(own("registry@.service"), own("registry-start"), config, spare)
    collector = f"/etc/systemd/system/steelyard-registry-gc@{name}"
    content(name="Configure a registry", path=f"{AT}/{name}.yml", content=config)
    content(name="Configure it for days without upstream", path=f"{AT}/{name}.cache-only.yml", content=spare)
    content(name="Stamp a registry", path=f"{AT}/{name}.env", content=f"STEELYARD_CONFIG={stamp}\n")
    running(name="Run a registry", unit=f"steelyard-registry@{name}.service", config=stamp, files=(UNIT,))
    collect = render(HERE / "templates/gc.service.j2", name=name, registry=registry)
    content(name="Write the collector's unit", path=f"{collector}.service", content=collect)
    content(name="Write the collector's timer", path=f"{collector}.timer", content=own("gc.timer"))
    running(name="Collect nightly", unit=f"steelyard-registry-gc@{name}.timer", files=(f"{collector}.timer",))


@deploy("registry_client")
def registry_client() -> None:
    """On every host but the mirrors: containerd and podman, where declared; and each mirror proven by a real pull."""
    site: Site = host.data.site
    wanted = settings_from(Settings, host.data)
    address = wanted.address or site.address_of_group("mirror")
    if "mirror" in host.data.host_groups or not wanted.mirrored():
        return
    named = [(registry, wanted.urls_of(registry, address), wanted.probe_of(registry)) for registry in wanted.mirrored()]
    if "containerd" in wanted.clients:
        for registry, urls, probe in host.loop(named):
            path = f"/etc/containerd/certs.d/{registry}/hosts.toml"
            text = render(HERE / "templates/hosts.toml.j2", registry=registry, urls=in_order(urls, probe, path))
            content(name="Point containerd at the mirrors", path=path, content=text)
    if "podman" in wanted.clients:
        mirrored = [(registry, in_order(urls, probe, PODMAN)) for registry, urls, probe in named]
        text = render(HERE / "templates/registries.conf.j2", mirrored=mirrored)
        content(name="Point podman at the mirrors", path=PODMAN, content=text)
    check_mirrors(wanted, address)
