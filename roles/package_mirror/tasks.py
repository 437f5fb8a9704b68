"""Brings the mirror host to an apt cache and a wheel index over HTTP, and every other host to using them."""

from __future__ import annotations

from pathlib import Path

from pyinfra.api.deploy import deploy
from pyinfra.context import host

from steelyard.api.settings import settings_from
from steelyard.api.template import config_id, render
from steelyard.modules.operations.package import installed
from steelyard.modules.operations.path import file
from steelyard.modules.operations.unit import answering, running
from steelyard.modules.operations.wheels import indexed
from steelyard.serving.kinds import KINDS, wheels_place
from steelyard.site.site import Service, Site

from .settings import Settings

TEMPLATES = Path(__file__).parent / "templates"
STAMP = "[Service]\nEnvironment=STEELYARD_CONFIG={}\n"


def _site_version(engine: str) -> str:
    kind = KINDS[engine]
    return str((host.data.get(kind.section) or {}).get("version", kind.options.newest))


def _version(service: Service) -> str:
    return service.engine_version(_site_version(service.serve.engine))


def _place(engine: tuple[str, str]) -> str:
    return wheels_place(*engine, _site_version("vllm"))


@deploy("package_mirror")
def package_mirror() -> None:
    """Have hosts of group `mirror` cache and serve."""
    if "mirror" not in host.data.host_groups:
        return
    wanted = settings_from(Settings, host.data)
    installed(name="Install the servers", packages=("apt-cacher-ng", "nginx-light"))
    cache = render(TEMPLATES / "apt-cacher.conf.j2", port=wanted.apt_port)
    stamp = "/etc/systemd/system/apt-cacher-ng.service.d/50-steelyard.conf"
    file(name="Configure the apt cache", path="/etc/apt-cacher-ng/zz_steelyard.conf", content=cache)
    file(name="Stamp the apt cache", path=stamp, content=STAMP.format(config_id(cache)))
    running(name="Run the apt cache", unit="apt-cacher-ng.service", config=config_id(cache), files=(stamp,))
    site: Site = host.data.site
    engines = {(service.serve.engine, _version(service)) for service in site.services}
    # in the order of their names, the site's vLLM first: without services it is what a host would ask for
    for kind, version in sorted(engines or {("vllm", _site_version("vllm"))}, key=_place):
        title = f"Index the wheels of {KINDS[kind].title} {version}" if _place((kind, version)) else "Index the wheels"
        indexed(name=title, folder=f"{wanted.wheels}/{_place((kind, version))}".rstrip("/"))
    plain = render(TEMPLATES / "wheels.conf.j2", port=wanted.wheels_port, wheels=wanted.wheels, stamp="")
    # nginx writes over its environment, so its configuration tells its own stamp over HTTP
    stamp = config_id(plain)
    served = render(TEMPLATES / "wheels.conf.j2", port=wanted.wheels_port, wheels=wanted.wheels, stamp=stamp)
    file(name="Configure the wheel server", path="/etc/nginx/conf.d/steelyard-wheels.conf", content=served)
    running(name="Run the wheel server", unit="nginx.service")
    url = f"http://127.0.0.1:{wanted.wheels_port}/steelyard-config"
    answering(name="Load the wheel server's configuration", unit="nginx.service", url=url, answer=stamp)


@deploy("package_client")
def package_client() -> None:
    """Have apt and pip of every other host ask the mirror, where there is one."""
    site: Site = host.data.site
    wanted = settings_from(Settings, host.data)
    address = wanted.address or site.address_of_group("mirror")
    if "mirror" in host.data.host_groups or address is None:
        return
    proxy = render(TEMPLATES / "apt-client.conf.j2", address=address, port=wanted.apt_port)
    file(name="Point apt at the mirror", path="/etc/apt/apt.conf.d/01steelyard-mirror", content=proxy)
    pip = render(TEMPLATES / "pip.conf.j2", address=address, port=wanted.wheels_port)
    file(name="Point pip at the mirror", path="/etc/pip.conf", content=pip)
