"""Brings a host to its services: engines from the mirror's wheels, hardened units, ready by a generated token.

The engine listens on a unix socket only and has no network; one small HAProxy per host is its TCP listener, asks for
the key, and passes nothing but the public API. A version is bound read-only onto one constant path, so the engine never
sees a moving one.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from pyinfra.api.deploy import deploy
from pyinfra.context import host

from steelyard.api.advice import advise
from steelyard.api.settings import settings_from
from steelyard.api.task_group import task_group
from steelyard.api.template import config_id, render
from steelyard.api.turn import in_turn
from steelyard.api.unit_text import environment_value
from steelyard.api.unknown import declare_unknown
from steelyard.hardware.gpu_assignment import GpuRequest
from steelyard.hardware.xids import ACTIONS
from steelyard.models.distribution.variants import sharded_project
from steelyard.models.fit.gpu_memory import ServingProfile
from steelyard.models.load_strategy import HostLoads, chosen_options
from steelyard.models.sources.declared import declared_footprints
from steelyard.modules.facts.engine import Lock
from steelyard.modules.facts.helper import HelperAnswer
from steelyard.modules.facts.processor import Processor
from steelyard.modules.operations.engine import venv
from steelyard.modules.operations.gpu_assignment import gpus_assigned, gpus_available
from steelyard.modules.operations.gpu_memory import fits_gpu_memory
from steelyard.modules.operations.haproxy import serving
from steelyard.modules.operations.memory_budget import within_memory_budget
from steelyard.modules.operations.package import installed
from steelyard.modules.operations.path import file, file_absent
from steelyard.modules.operations.replica import Replica, replica_running
from steelyard.modules.operations.store import page_cache_warmed, version_present
from steelyard.modules.operations.unit import loaded, running, stopped
from steelyard.roles.base.settings import Settings as BaseSettings
from steelyard.roles.llamacpp import LLAMACPP
from steelyard.roles.model_store.settings import Settings as StoreSettings
from steelyard.roles.package_mirror.settings import Settings as MirrorSettings
from steelyard.serving.kinds import KINDS, engine_folder, wheels_place
from steelyard.site.engine_adapter import EngineAdapter
from steelyard.site.site import Service, Site
from steelyard_host import paths
from steelyard_host.engine.service import account_of
from steelyard_host.proxy import front

from .account import account_drop_in, write_account
from .advice import cpu_advice, unpinned_wheels
from .checks import check_services
from .engine import VLLM, sharded_variant
from .front_keys import key_lines, key_values, write_keys
from .lazy import lazy_units, run_lazy, stop_lazy, write_lazy
from .proxy import check_proxy
from .retire import front_waits, make_room, stop_rest
from .rollouts import not_on_trial
from .settings import Settings

TEMPLATES = Path(__file__).parent / "templates"
ENGINES = {engine.kind: engine for engine in (VLLM, LLAMACPP)}
GIB = 1 << 30
UNPRIVILEGED = 1024  # the first port that needs no capability
HALTING_XIDS = ",".join(str(number) for number, action in sorted(ACTIONS.items()) if action.halts)
FRONT_SOCKET = paths.PROXY_SOCKET
FRONT_HERE = paths.PROXY_HERE  # it answers itself there


@deploy("vllm")
def vllm() -> None:
    """Engine first, then the front that lets the gateway in, then each service."""
    site: Site = host.data.site
    services = site.services_on(host.data.host_name)
    make_room(services)
    if not services:
        return
    wanted, base = settings_from(Settings, host.data), settings_from(BaseSettings, host.data)
    if wanted.memory_gib is not None:
        within_memory_budget(name="See that the services have room", services=services, budget_gib=wanted.memory_gib)
    units = {}
    for kind in dict.fromkeys(service.serve.engine for service in services):
        with task_group(_engine_group(kind)):
            units[kind] = _engine(ENGINES[kind], services, wanted, base)
    known = declared_footprints(site, services)
    types = {service.name: footprint.weights_by_type if footprint else {} for service, footprint in known}
    for hint in cpu_advice(services, wanted.packages, host.get_fact(Processor), types):
        advise(hint)
    facts = cast(HostLoads | None, host.get_fact(HelperAnswer, words=("load-facts",)))
    if any(service.lazy for service in services):
        lazy_units(base)
    at_rest = not_on_trial(services)
    if "gateway" not in host.data.host_groups:
        stopped(name="Stop the distribution's HAProxy", unit="haproxy.service")
    if not front_waits(services):
        _front(services, wanted, base)  # first: it asks for a key, which engines do not
    for service in host.loop(at_rest):
        with task_group(service.task_group, _engine_group(service.serve.engine)):
            if service.serve.fit == "refuse" and any(other is service for other, _ in known):
                fits_gpu_memory(name="See that the version has room", service=service.name, services=known)
            folder = engine_folder(service.serve.engine, service.engine_version(_version(service)))
            auto = service.serve.load_strategy == "auto" and service.kind.own_loading
            measured = chosen_options(facts, folder) if auto else {}
            _service(site, service, wanted, units[service.serve.engine], folder, measured)
    _watch(services, wanted)
    check_services(at_rest, wanted.drain_s)


def _engine_group(kind: str) -> str:
    return f"engine {kind}"


@deploy("vllm")
def retired() -> None:
    """End services that are declared no more, when the gateways know: their ports close, their files go."""
    site: Site = host.data.site
    services = site.services_on(host.data.host_name)
    waits = front_waits(services)
    stop_rest(services)
    if services and waits:
        _front(services, settings_from(Settings, host.data), settings_from(BaseSettings, host.data))


def _version(service: Service) -> str:
    """What the engine's section says of its version."""
    return settings_from(ENGINES[service.serve.engine].settings, host.data).version


def _engine(engine: EngineAdapter, services: tuple[Service, ...], wanted: Settings, base: BaseSettings) -> str:
    """The engine, its files and its unit, which is the answer."""
    installed(name="Install what engines need", packages=settings_from(engine.settings, host.data).packages)
    mine = [service for service in services if service.serve.engine == engine.kind]
    for version in sorted({service.engine_version(_version(service)) for service in mine}):
        _installed(engine.kind, version)
    unit = render(
        TEMPLATES / "engine@.service.j2",
        engine=engine,
        user=base.engine_user,
        wanted=wanted,
        root=host.data.site.model_root,
    )
    file(
        name="Install the start wrapper",
        path=f"{paths.LIBRARIES}/engine-exec",
        mode="0755",
        content=(TEMPLATES / "engine-exec.sh").read_text(),
    )
    file(name="Write the unit of engines", path=f"/etc/systemd/system/steelyard-{engine.kind}@.service", content=unit)
    for engine_file in engine.files:
        file(name=engine_file.task, path=engine_file.path, content=engine_file.text)
    return unit


def _installed(kind: str, version: str) -> None:
    """Wheels lie in a folder of their own, but for those of the site's vLLM."""
    site: Site = host.data.site
    mirror = settings_from(MirrorSettings, host.data)
    address = mirror.address or site.address_of_group("mirror")
    place = wheels_place(kind, version, settings_from(Settings, host.data).version)
    url = f"http://{address}:{mirror.wheels_port}" + (f"/{place}" if place else "")
    declared = settings_from(ENGINES[kind].settings, host.data).lock_of(version)
    if declared is None:
        advise(unpinned_wheels(KINDS[kind].section, KINDS[kind].title, version))
    if host.get_fact(Lock, url=f"{url}/requirements.lock").sha256 is None:
        declare_unknown(
            "the engine's wheels",
            because="the mirror does not offer them yet",
            settled_by="task 'Install the engine', during apply",
        )
    folder = engine_folder(kind, version)
    venv(
        name="Install the engine",
        folder=folder,
        index=f"{url}/simple/",
        lock_url=f"{url}/requirements.lock",
        lock_sha256=declared,
        setting=f"{KINDS[kind].section}.lock_sha256",
    )


def _service(site: Site, service: Service, wanted: Settings, unit: str, engine: str, loading: dict[str, Any]) -> None:
    name, kind = service.name, ENGINES[service.serve.engine]
    gpus_available(name="See that there are GPUs", service=name, needs=_needs(site, wanted))
    version, loading = _served_version(site, service, loading)
    given = {key: environment_value(value) for key, value in service.serve.environment.items()}
    # how weights are loaded is for the next start: no reason for one
    stamp = config_id(
        unit,
        kind.config(service, wanted.drain_s, {}),
        str(sorted(given.items())),
        engine,
        account_of(name),
    )
    environment = render(
        TEMPLATES / "service.env.j2",
        environment=given,
        engine=engine,
        stamp=stamp,
        turns=_turns(site, service, wanted),
    )
    mount = paths.model_mount(name)
    if wanted.warm_s and not service.lazy:  # others need not wait for it
        page_cache_warmed(
            name="Warm the new version", unit=service.unit, mount=mount, folder=version, seconds=wanted.warm_s
        )
    config = kind.config(service, wanted.drain_s, loading)
    # a lazy one is not taken away: its socket holds requests while it starts
    with in_turn(*([service.turn] if service.turn is not None and not service.lazy else [])):
        write_account(service)
        _write_configuration(service, config, environment)
        drop_in = f"/etc/systemd/system/{service.unit}.d/50-version.conf"
        file(name="Bind the version", path=drop_in, content=_binding(site, service, wanted, version, engine))
        write_lazy(service, wanted)
        gpus_assigned(
            name="Give the service its GPUs",
            service=name,
            unit=service.unit,
            needs=_needs(site, wanted),
            path=f"/etc/systemd/system/{service.unit}.d/60-gpus.conf",
            template=(TEMPLATES / "gpus.conf").read_text().replace("{halting}", HALTING_XIDS),
        )
        files = (f"/etc/systemd/system/steelyard-{kind.kind}@.service", drop_in, account_drop_in(service))
        if service.lazy:
            run_lazy(service, stamp, mount, version, files, wanted.drain_s)
        else:
            stop_lazy(service)
            replica_running(
                name="Run the service",
                replica=replica_of(site, service, wanted),
                config=stamp,
                mount=mount,
                mounted=version,
                files=files,
                depends_on=(version, engine),
            )
    # of releases whose engines asked for one; one that is started so needs it until it is started anew
    file_absent(name="Remove the engine's key", path=f"{paths.KEYS}/{name}")


def replica_of(site: Site, service: Service, wanted: Settings) -> Replica:
    """The service as an operation has it that may restart it."""
    others = len(site.aliases().get(service.alias or "", (service,))) - 1
    return Replica(
        service.name,
        service.unit,
        site.model_root,
        service.model,
        others,
        wanted.ready_s + wanted.warm_s,
        wanted.drain_s,
    )


def _served_version(site: Site, service: Service, loading: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the folder that is served and how it is loaded: the version's, or its variant for the service's ranks."""
    if service.serve.load_strategy != "sharded":
        return f"{site.model_root}/{service.model}/{service.version}", loading
    project = sharded_project(service.model)
    variant = sharded_variant(site, service, service.engine_version(_version(service)))
    version_present(
        name="See the sharded variant",
        root=site.model_root,
        project=project,
        version=variant,
        fix=f"steelyard models shard {service.model}",
    )
    return f"{site.model_root}/{project}/{variant}", {"load-format": "sharded_state"}


def _write_configuration(service: Service, config: str, environment: str) -> None:
    """Write what its engine alone may read beside root."""
    name, kind, group = service.name, ENGINES[service.serve.engine], account_of(service.name)
    path = f"{paths.SERVICES}/{name}"
    file(name="Write the engine's config", path=path + kind.suffix, content=config, mode="0640", group=group)
    file(name="Write the engine's environment", path=path + ".env", content=environment, mode="0640", group=group)


def _binding(site: Site, service: Service, wanted: Settings, version: str, engine: str) -> str:
    """Return the unit's drop-in that binds the version and brings it into memory."""
    return render(
        TEMPLATES / "version.conf.j2",
        version=version,
        name=service.name,
        warm_s=wanted.warm_s,
        order=service.serve.order,
        at_once=wanted.warm_at_once,
        lock_bytes=settings_from(StoreSettings, host.data).lock_gib << 30,
        root=site.model_root,
        engine=engine,
        user=account_of(service.name),
        compiles=ENGINES[service.serve.engine].compiles,
    )


def _turns(site: Site, service: Service, wanted: Settings) -> dict[str, str]:
    """For the helper, where services of the host run by turns: what each takes, and how much there is."""
    if not any(other.lazy for other in site.services_on(service.host)):
        return {}
    environment = {"LOAD": service.serve.load, "SHARE": f"{ServingProfile.of(service.serve).utilization:g}"}
    if service.serve.memory_gib is not None:
        environment["MEMORY"] = str(int(service.serve.memory_gib * GIB))
    if wanted.memory_gib is not None:
        environment["BUDGET"] = str(int(wanted.memory_gib * GIB))
    return environment


def _needs(site: Site, wanted: Settings) -> tuple[dict[str, object], ...]:
    """Of all services of the host: they share its GPUs."""
    needs = []
    for service in site.services_on(host.data.host_name):
        wish = ServingProfile.of(service.serve)
        named = wanted.gpus.get(service.name, ())
        need = GpuRequest(service.name, wish.tensor * wish.pipeline, wish.utilization, tuple(named), service.lazy)
        needs.append(asdict(need))
    return tuple(needs)


def _watch(services: tuple[Service, ...], wanted: Settings) -> None:
    """A look at each engine every few seconds, by a timer; a hung one is killed, and systemd starts it."""
    units = ("/etc/systemd/system/steelyard-watch@.service", "/etc/systemd/system/steelyard-watch@.timer")
    timers = [f"steelyard-watch@{service.name}.timer" for service in services]
    if not wanted.watch_s:
        for timer in timers:
            stopped(name="Stop the watch", unit=timer)
        return
    look = render(TEMPLATES / "watch.service.j2", hung_s=wanted.hung_s)
    file(name="Write the unit of the watch", path=units[0], content=look)
    file(
        name="Write the timer of the watch",
        path=units[1],
        content=render(TEMPLATES / "watch.timer.j2", every=wanted.watch_s),
    )
    for service in services:
        loaded(name="Load the unit of the watch", unit=f"steelyard-watch@{service.name}.service")
    for timer in timers:
        running(name="Watch the service", unit=timer, files=(units[1],))


def _front(services: tuple[Service, ...], wanted: Settings, base: BaseSettings) -> None:
    keys = key_lines(wanted, services)
    ports = [(service.name, service.serve.port, service.lazy) for service in services]
    given = {
        "services": ports,
        "socket": FRONT_SOCKET,
        "here": FRONT_HERE,
        "versions": front.VERSIONS,
        **key_values(wanted),
    }
    stamp = config_id(render(TEMPLATES / "front.cfg.j2", **given, stamp=""), keys)
    config = render(TEMPLATES / "front.cfg.j2", **given, stamp=stamp)
    names = " ".join(service.name for service in services)
    unit = render(
        TEMPLATES / "front.service.j2",
        user=base.front_user,
        group=base.engine_user,
        names=names,
        low_ports=any(port < UNPRIVILEGED for _, port, _ in ports),
    )
    file(name="Write the unit of the front", path="/etc/systemd/system/steelyard-front.service", content=unit)
    file(name="Make the table of versions", path=front.VERSIONS, content="# filled in the running front only\n")
    write_keys(wanted, services, base)
    file(name="Configure the front", path=paths.PROXY_CONFIG, content=config, check="/usr/sbin/haproxy -c -f")
    running(
        name="Run the front",
        unit=paths.PROXY_UNIT,
        files=("/etc/systemd/system/steelyard-front.service",),
        depends_on=(paths.PROXY_CONFIG,),
    )
    serving(name="Load the front's configuration", unit=paths.PROXY_UNIT, socket=FRONT_SOCKET, config=stamp)
    check_proxy("vllm.front-runs", paths.PROXY_UNIT, paths.PROXY_CONFIG)
