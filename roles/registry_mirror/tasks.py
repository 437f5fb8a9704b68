"""Brings mirror hosts to one registry per upstream, and every other host's containerd and podman to asking them.

Docker's own mirrors are keys of daemon.json: the role `docker` writes that file, with what this role's settings say.
"""

from __future__ import annotations

from pathlib import Path

from pyinfra.api.deploy import deploy
from pyinfra.context import host

from steelyard.api.settings import settings_from
from steelyard.api.template import config_id, render
from steelyard.modules.operations.package import installed
from steelyard.modules.operations.path import file, folder
from steelyard.modules.operations.unit import running, stopped
from steelyard.site.site import Site
from steelyard_host import paths

from .checks import check_mirrors, check_registries
from .measure import in_order
from .settings import Registry, Settings

HERE = Path(__file__).parent
AT = paths.REGISTRIES
PODMAN = "/etc/containers/registries.conf.d/50-steelyard.conf"
UNIT = "/etc/systemd/system/steelyard-registry@.service"


def own(name: str) -> str:
    return (HERE / "files" / name).read_text()


@deploy("registry_mirror")
def registry_mirror() -> None:
    """Run one process per declared registry on hosts of group `mirror`."""
    wanted = settings_from(Settings, host.data)
    if "mirror" not in host.data.host_groups or not wanted.registries:
        return
    installed(name="Install the registry", packages=("docker-registry", "skopeo"))
    stopped(name="Stop the distribution's registry", unit="docker-registry.service")
    folder(name="Make the folder of registries", path=AT)
    for script in ("registry-start", "registry-gc"):
        file(name=f"Install {script}", path=f"{paths.LIBRARIES}/{script}", content=own(script), mode="0755")
    file(
        name="Install registry-upstream", path=f"{paths.LIBRARIES}/registry-upstream", content=own("registry-upstream")
    )
    file(name="Write the unit of registries", path=UNIT, content=own("registry@.service"))
    # those that only take pushes first: one of them may be another's upstream
    for name, registry in host.loop(sorted(wanted.registries.items(), key=lambda each: each[1].upstream is not None)):
        _registry(name, registry)
    check_registries(wanted)


def _registry(name: str, registry: Registry) -> None:
    config = render(HERE / "templates/registry.yml.j2", name=name, registry=registry, offline=False)
    spare = render(HERE / "templates/registry.yml.j2", name=name, registry=registry, offline=True)
    stamp = config_id(*map(own, ("registry@.service", "registry-start", "registry-upstream")), config, spare)
    environment = f"STEELYARD_CONFIG={stamp}\nSTEELYARD_ADDRESS=http://127.0.0.1:{registry.port}\n"
    collector = f"/etc/systemd/system/steelyard-registry-gc@{name}"
    file(name="Configure a registry", path=f"{AT}/{name}.yml", content=config)
    file(name="Configure it for days without upstream", path=f"{AT}/{name}.cache-only.yml", content=spare)
    file(name="Stamp a registry", path=f"{AT}/{name}.env", content=environment)
    running(name="Run a registry", unit=f"steelyard-registry@{name}.service", config=stamp, files=(UNIT,))
    collect = render(HERE / "templates/gc.service.j2", name=name, registry=registry)
    file(name="Write the collector's unit", path=f"{collector}.service", content=collect)
    file(name="Write the collector's timer", path=f"{collector}.timer", content=own("gc.timer"))
    running(name="Collect nightly", unit=f"steelyard-registry-gc@{name}.timer", files=(f"{collector}.timer",))


@deploy("registry_client")
def registry_client() -> None:
    """Point every host but the mirrors to them: containerd and podman, where declared; and each mirror proven by a
    real pull.
    """
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
            file(name="Point containerd at the mirrors", path=path, content=text)
    if "podman" in wanted.clients:
        mirrored = [(registry, in_order(urls, probe, PODMAN)) for registry, urls, probe in named]
        text = render(HERE / "templates/registries.conf.j2", mirrored=mirrored)
        file(name="Point podman at the mirrors", path=PODMAN, content=text)
    check_mirrors(wanted, address, site.groups.get("mirror", ())[:1])
