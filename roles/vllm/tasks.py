"""Brings a host to its services: engines from the mirror's wheels, hardened units, ready by a generated token.

The engine listens on a unix socket only and has no network; one small HAProxy per host is its TCP listener and passes
nothing but the public API. A version is bound read-only onto one constant path, so the engine never sees a moving one.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from pyinfra.api.deploy import deploy
from pyinfra.context import host

from steelyard.gpus.placing import Need
from steelyard.gpus.xids import ACTIONS
from steelyard.models.artefacts import sharded_project
from steelyard.models.declared import declared_figures
from steelyard.models.loading import chosen_options
from steelyard.models.room import Wish
from steelyard.modules.facts.engine import Lock
from steelyard.modules.facts.helper import HelperAnswer
from steelyard.modules.operations.engine import forgotten, venv
from steelyard.modules.operations.fitting import has_room
from steelyard.modules.operations.haproxy import serving
from steelyard.modules.operations.memory import budgeted
from steelyard.modules.operations.package import installed
from steelyard.modules.operations.path import absent, content
from steelyard.modules.operations.placing import placeable, placed
from steelyard.modules.operations.store import there, warmed
from steelyard.modules.operations.unit import loaded, running, stopped
from steelyard.rendering import config_id, render
from steelyard.roles.base.settings import Settings as BaseSettings
from steelyard.roles.llamacpp import LLAMACPP
from steelyard.roles.model_store.settings import Settings as StoreSettings
from steelyard.roles.package_mirror.settings import Settings as MirrorSettings
from steelyard.serving.kinds import engine_folder
from steelyard.serving.running import Running
from steelyard.settings import settings_from
from steelyard.site import Service, Site
from steelyard.unknowns import declare_unknown
from steelyard_host import front

from .checks import check_services
from .engine import VLLM, sharded_variant
from .lazy import lazy_units, run_lazy, stop_lazy, write_lazy
from .settings import Settings

TEMPLATES = Path(__file__).parent / "templates"
ENGINES = {engine.kind: engine for engine in (VLLM, LLAMACPP)}
GIB = 1 << 30
HALTING_XIDS = ",".join(str(number) for number, action in sorted(ACTIONS.items()) if action.halts)
FRONT_SOCKET = "/run/steelyard-front/admin.sock"
FRONT_HERE = "/run/steelyard-front/here.sock"  # it answers itself there


@deploy("vllm")
def vllm() -> None:
    """Engine first, then each service, then the front that lets the gateway in."""
    site: Site = host.data.site
    services = site.services_on(host.data.host_name)
    forgotten(name="Stop what is declared no more", units=tuple(service.unit for service in services))
    if not services:
        return
    wanted, base = settings_from(Settings, host.data), settings_from(BaseSettings, host.data)
    if wanted.memory_gib is not None:
        budgeted(name="See that the services have room", services=services, budget_gib=wanted.memory_gib)
    units = {
        kind: _engine(ENGINES[kind], services, wanted, base) for kind in dict.fromkeys(each.serve.engine for each in services)
    }
    facts = host.get_fact(HelperAnswer, words=("load-facts",))
    if any(service.lazy for service in services):
        lazy_units(base)
    known = declared_figures(site, services)
    for service in host.loop(services):
        if service.serve.fit == "refuse" and any(other is service for other, _ in known):
            has_room(name="See that the version has room", service=service.name, services=known)
        folder = engine_folder(service.serve.engine, service.engine_version(_version(service)))
        measured = chosen_options(facts, folder) if service.serve.load_strategy == "auto" and service.kind.own_loading else {}
        _service(site, service, wanted, base, units[service.serve.engine], folder, measured)
    if "gateway" not in host.data.host_groups:
        stopped(name="Stop the distribution's HAProxy", unit="haproxy.service")
    _front(services, base)
    _watch(services, wanted)
    check_services(services, wanted.drain_s)


def _version(service: Service) -> str:
    """What the engine's section says of its version."""
    return settings_from(ENGINES[service.serve.engine].settings, host.data).version


def _engine(engine: Running, services: tuple[Service, ...], wanted: Settings, base: BaseSettings) -> str:
    """The engine, its files and its unit, which is the answer."""
    installed(name="Install what engines need", packages=settings_from(engine.settings, host.data).packages)
    mine = [service for service in services if service.serve.engine == engine.kind]
    for version in sorted({service.engine_version(_version(service)) for service in mine}):
        _installed(engine.kind, version)
    unit = render(
        TEMPLATES / "engine@.service.j2", engine=engine, user=base.engine_user, wanted=wanted, root=host.data.site.model_root
    )
    content(name="Install the key wrapper", path="/usr/lib/steelyard/engine-exec", mode="0755",
            content=(TEMPLATES / "engine-exec.sh").read_text())  # fmt: skip
    content(name="Write the unit of engines", path=f"/etc/systemd/system/steelyard-{engine.kind}@.service", content=unit)
    for file in engine.files:
        content(name=file.task, path=file.path, content=file.text)
    return unit


def _installed(kind: str, version: str) -> None:
    """Wheels lie in a folder of their own, but for those of the site's vLLM."""
    site: Site = host.data.site
    mirror = settings_from(MirrorSettings, host.data)
    address = mirror.address or site.address_of_group("mirror")
    own = kind == "vllm" and version == settings_from(Settings, host.data).version
    url = f"http://{address}:{mirror.wheels_port}" + ("" if own else f"/{kind}-{version}")
    if host.get_fact(Lock, url=f"{url}/requirements.lock").sha256 is None:
        declare_unknown(
            "the engine's wheels",
            because="the mirror does not offer them yet",
            settled_by="task 'Install the engine', during apply",
        )
    folder = engine_folder(kind, version)
    venv(name="Install the engine", folder=folder, index=f"{url}/simple/", lock_url=f"{url}/requirements.lock")


def _service(
    site: Site, service: Service, wanted: Settings, base: BaseSettings, unit: str, engine: str, loading: dict[str, Any]
) -> None:
    at, name, kind = "/etc/steelyard", service.name, ENGINES[service.serve.engine]
    placeable(name="See that there are GPUs", service=name, needs=_needs(site, wanted))
    version = f"{site.model_root}/{service.model}/{service.version}"
    if service.serve.load_strategy == "sharded":
        project, variant = (
            sharded_project(service.model),
            sharded_variant(site, service, service.engine_version(_version(service))),
        )
        version, loading = f"{site.model_root}/{project}/{variant}", {"load-format": "sharded_state"}
        there(
            name="See the sharded variant",
            root=site.model_root,
            project=project,
            version=variant,
            fix=f"steelyard models shard {service.model}",
        )
    config = kind.config(service, wanted.drain_s, loading)
    lock_bytes = settings_from(StoreSettings, host.data).lock_gib << 30
    bound = render(
        TEMPLATES / "version.conf.j2", version=version, name=name, warm_s=wanted.warm_s, order=service.serve.order,
        at_once=wanted.warm_at_once, lock_bytes=lock_bytes, root=site.model_root, engine=engine, user=base.engine_user,
        compiles=kind.compiles,
    )  # fmt: skip
    key = wanted.api_key.get_secret_value() if wanted.api_key else None
    # how weights are loaded is for the next start: no reason for one
    stamp = config_id(
        unit, kind.config(service, wanted.drain_s, {}), str(sorted(service.serve.environment.items())), key or "", engine
    )
    environment = render(
        TEMPLATES / "service.env.j2", environment=service.serve.environment, engine=engine, stamp=stamp,
        turns=_turns(site, service, wanted),
    )  # fmt: skip
    group = base.engine_user
    content(
        name="Write the engine's config", path=f"{at}/services/{name}{kind.suffix}", content=config, mode="0640", group=group
    )
    content(
        name="Write the engine's environment", path=f"{at}/services/{name}.env", content=environment, mode="0640", group=group
    )
    if key is not None:
        content(name="Write the engine's key", path=f"{at}/keys/{name}", content=key + "\n", mode="0600", secret=True)
    else:
        absent(name="Remove the engine's key", path=f"{at}/keys/{name}")
    drop_in = f"/etc/systemd/system/{service.unit}.d/50-version.conf"
    content(name="Bind the version", path=drop_in, content=bound)
    write_lazy(service, wanted)
    mount = f"/run/steelyard/{name}/model"
    if wanted.warm_s and not service.lazy:
        warmed(name="Warm the new version", unit=service.unit, mount=mount, folder=version, seconds=wanted.warm_s)
    placed(
        name="Give the service its GPUs",
        service=name,
        unit=service.unit,
        needs=_needs(site, wanted),
        path=f"/etc/systemd/system/{service.unit}.d/60-gpus.conf",
        template=(TEMPLATES / "gpus.conf").read_text().replace("{halting}", HALTING_XIDS),
    )
    files = (f"/etc/systemd/system/steelyard-{kind.kind}@.service", drop_in)
    if service.lazy:
        run_lazy(service, stamp, mount, version, files, wanted.drain_s)
        return
    stop_lazy(service)
    running(name="Run the service", unit=service.unit, config=stamp, mount=mount, mounted=version, files=files)


def _turns(site: Site, service: Service, wanted: Settings) -> dict[str, str]:
    """For the helper, where services of the host run by turns: what each takes, and how much there is."""
    if not any(other.lazy for other in site.services_on(service.host)):
        return {}
    found = {"LOAD": service.serve.load, "SHARE": f"{Wish.of(service.serve).utilization:g}"}
    if service.serve.memory_gib is not None:
        found["MEMORY"] = str(int(service.serve.memory_gib * GIB))
    if wanted.memory_gib is not None:
        found["BUDGET"] = str(int(wanted.memory_gib * GIB))
    return found


def _needs(site: Site, wanted: Settings) -> tuple[dict[str, object], ...]:
    """Of all services of the host: they share its GPUs."""
    found = []
    for service in site.services_on(host.data.host_name):
        wish = Wish.of(service.serve)
        named = wanted.gpus.get(service.name, ())
        need = Need(service.name, wish.tensor * wish.pipeline, wish.utilization, tuple(named), service.lazy)
        found.append(asdict(need))
    return tuple(found)


def _watch(services: tuple[Service, ...], wanted: Settings) -> None:
    """A look at each engine every few seconds, by a timer; a hung one is killed, and systemd starts it."""
    units = ("/etc/systemd/system/steelyard-watch@.service", "/etc/systemd/system/steelyard-watch@.timer")
    timers = [f"steelyard-watch@{service.name}.timer" for service in services]
    if not wanted.watch_s:
        for timer in timers:
            stopped(name="Stop the watch", unit=timer)
        return
    look = render(TEMPLATES / "watch.service.j2", hung_s=wanted.hung_s)
    content(name="Write the unit of the watch", path=units[0], content=look)
    content(
        name="Write the timer of the watch", path=units[1], content=render(TEMPLATES / "watch.timer.j2", every=wanted.watch_s)
    )
    for service in services:
        loaded(name="Load the unit of the watch", unit=f"steelyard-watch@{service.name}.service")
    for timer in timers:
        running(name="Watch the service", unit=timer, files=(units[1],))


def _front(services: tuple[Service, ...], base: BaseSettings) -> None:
    ports = [(service.name, service.serve.port, service.lazy) for service in services]
    given = {"services": ports, "socket": FRONT_SOCKET, "here": FRONT_HERE, "versions": front.VERSIONS}
    stamp = config_id(render(TEMPLATES / "front.cfg.j2", **given, stamp=""))
    config = render(TEMPLATES / "front.cfg.j2", **given, stamp=stamp)
    names = " ".join(service.name for service in services)
    unit = render(TEMPLATES / "front.service.j2", user=base.front_user, group=base.engine_user, names=names)
    content(name="Write the unit of the front", path="/etc/systemd/system/steelyard-front.service", content=unit)
    content(name="Make the table of versions", path=front.VERSIONS, content="# filled in the running front only\n")
    content(name="Configure the front", path="/etc/steelyard/front.cfg", content=config, check="/usr/sbin/haproxy -c -f")
    running(name="Run the front", unit="steelyard-front.service", files=("/etc/systemd/system/steelyard-front.service",))
    serving(name="Load the front's configuration", unit="steelyard-front.service", socket=FRONT_SOCKET, config=stamp)
