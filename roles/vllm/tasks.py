"""Brings a host to its vLLM services: engine from the mirror's wheels, hardened units, ready by a generated token.

The engine listens on a unix socket only and has no network; one small HAProxy per host is its TCP listener and passes
nothing but the public API. A version is bound read-only onto one constant path, so the engine never sees a moving one.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml
from pyinfra.api.deploy import deploy
from pyinfra.context import host

from steelyard.gpus.placing import Need
from steelyard.gpus.xids import ACTIONS
from steelyard.models.artefacts import sharded_key, sharded_project
from steelyard.models.declared import declared_figures, declared_weights
from steelyard.models.loading import chosen_options
from steelyard.models.room import Wish
from steelyard.modules.facts.engine import Lock
from steelyard.modules.facts.helper import HelperAnswer
from steelyard.modules.operations.engine import venv
from steelyard.modules.operations.fitting import has_room
from steelyard.modules.operations.haproxy import serving
from steelyard.modules.operations.package import installed
from steelyard.modules.operations.path import absent, content
from steelyard.modules.operations.placing import placeable, placed
from steelyard.modules.operations.store import there, warmed
from steelyard.modules.operations.unit import loaded, running, stopped
from steelyard.rendering import config_id, render
from steelyard.roles.base.settings import Settings as BaseSettings
from steelyard.roles.model_store.settings import Settings as StoreSettings
from steelyard.roles.package_mirror.settings import Settings as MirrorSettings
from steelyard.settings import settings_from
from steelyard.site import Service, Site, engine_folder
from steelyard.unknowns import declare_unknown
from steelyard_host import front
from steelyard_host.loading import PROBE

from .checks import check_services
from .settings import Settings

TEMPLATES, FILES = Path(__file__).parent / "templates", Path(__file__).parent / "files"
HALTING_XIDS = ",".join(str(number) for number, action in sorted(ACTIONS.items()) if action.halts)
FRONT_SOCKET = "/run/steelyard-front/admin.sock"


def engine_config(service: Service, wanted: Settings, loading: dict[str, Any] | None = None) -> str:
    """The engine's own config file: flat keys, alias and service name both served. `loading`: options that were measured."""
    serve = service.serve
    options: dict[str, Any] = {
        "model": f"/run/steelyard/{service.name}/model",
        "served-model-name": list(dict.fromkeys([service.name, service.alias or service.name])),
        "uds": f"/run/steelyard/{service.name}/engine.sock",
        "tensor-parallel-size": serve.tensor_parallel_size,
        "gpu-memory-utilization": serve.gpu_memory_utilization,
        "shutdown-timeout": wanted.drain_s,
    }
    if serve.pipeline_parallel_size > 1:
        options["pipeline-parallel-size"] = serve.pipeline_parallel_size
    if serve.max_model_len is not None:
        options["max-model-len"] = serve.max_model_len
    return yaml.safe_dump({**options, **(loading or {}), **serve.options}, sort_keys=True)


def sharded_variant(site: Site, service: Service, engine: str) -> str:
    """The key of the variant that a service loads with `load_strategy: sharded`."""
    manifest = declared_weights(service.model, site.models[service.model]).manifest.id
    return sharded_key(manifest, engine, service.serve.tensor_parallel_size, service.serve.options)


@deploy("vllm")
def vllm() -> None:
    """Engine first, then each service, then the front that lets the gateway in."""
    site: Site = host.data.site
    services = site.services_on(host.data.host_name)
    if not services:
        return
    wanted, base = settings_from(Settings, host.data), settings_from(BaseSettings, host.data)
    installed(name="Install what engines need", packages=wanted.packages)
    for version in sorted({service.engine_version(wanted.version) for service in services}):
        _engine(site, version, wanted)
    unit = render(TEMPLATES / "vllm@.service.j2", user=base.engine_user, wanted=wanted, root=site.model_root)
    content(name="Install the key wrapper", path="/usr/lib/steelyard/engine-exec", mode="0755",
            content=(TEMPLATES / "engine-exec.sh").read_text())  # fmt: skip
    content(name="Write the unit of engines", path="/etc/systemd/system/steelyard-vllm@.service", content=unit)
    content(name="Install the load probe", path=PROBE, content=(FILES / "load_probe.py").read_text())
    facts = host.get_fact(HelperAnswer, words=("load-facts",))
    known = declared_figures(site, services)
    for service in host.loop(services):
        if service.serve.fit == "refuse" and any(other is service for other, _ in known):
            has_room(name="See that the version has room", service=service.name, services=known)
        engine = engine_folder(service.engine_version(wanted.version))
        measured = chosen_options(facts, engine) if service.serve.load_strategy == "auto" else {}
        _service(site, service, wanted, base, unit, engine, measured)
    if "gateway" not in host.data.host_groups:
        stopped(name="Stop the distribution's HAProxy", unit="haproxy.service")
    _front(services, base)
    _watch(services, wanted)
    check_services(services, wanted.drain_s)


def _engine(site: Site, version: str, wanted: Settings) -> None:
    """Wheels of another version than the site's lie in a folder of their own."""
    mirror = settings_from(MirrorSettings, host.data)
    address = mirror.address or site.address_of_group("mirror")
    url = f"http://{address}:{mirror.wheels_port}" + ("" if version == wanted.version else f"/vllm-{version}")
    if host.get_fact(Lock, url=f"{url}/requirements.lock").sha256 is None:
        declare_unknown(
            "the engine's wheels",
            because="the mirror does not offer them yet",
            settled_by="task 'Install the engine', during apply",
        )
    venv(name="Install the engine", folder=engine_folder(version), index=f"{url}/simple/", lock_url=f"{url}/requirements.lock")


def _service(
    site: Site, service: Service, wanted: Settings, base: BaseSettings, unit: str, engine: str, loading: dict[str, Any]
) -> None:
    at, name = "/etc/steelyard", service.name
    placeable(name="See that there are GPUs", service=name, needs=_needs(site, wanted))
    version = f"{site.model_root}/{service.model}/{service.version}"
    if service.serve.load_strategy == "sharded":
        project, variant = (
            sharded_project(service.model),
            sharded_variant(site, service, service.engine_version(wanted.version)),
        )
        version, loading = f"{site.model_root}/{project}/{variant}", {"load-format": "sharded_state"}
        there(
            name="See the sharded variant",
            root=site.model_root,
            project=project,
            version=variant,
            fix=f"steelyard models shard {service.model}",
        )
    config = engine_config(service, wanted, loading)
    lock_bytes = settings_from(StoreSettings, host.data).lock_gib << 30
    bound = render(
        TEMPLATES / "version.conf.j2", version=version, name=name, warm_s=wanted.warm_s, order=service.serve.order,
        at_once=wanted.warm_at_once, lock_bytes=lock_bytes, root=site.model_root, engine=engine, user=base.engine_user,
    )  # fmt: skip
    key = wanted.api_key.get_secret_value() if wanted.api_key else None
    # how weights are loaded is for the next start: no reason for one
    stamp = config_id(unit, engine_config(service, wanted), str(sorted(service.serve.environment.items())), key or "", engine)
    environment = render(TEMPLATES / "service.env.j2", environment=service.serve.environment, engine=engine, stamp=stamp)
    group = base.engine_user
    content(name="Write the engine's config", path=f"{at}/services/{name}.yaml", content=config, mode="0640", group=group)
    content(
        name="Write the engine's environment", path=f"{at}/services/{name}.env", content=environment, mode="0640", group=group
    )
    if key is not None:
        content(name="Write the engine's key", path=f"{at}/keys/{name}", content=key + "\n", mode="0600", secret=True)
    else:
        absent(name="Remove the engine's key", path=f"{at}/keys/{name}")
    drop_in = f"/etc/systemd/system/steelyard-vllm@{name}.service.d/50-version.conf"
    content(name="Bind the version", path=drop_in, content=bound)
    mount = f"/run/steelyard/{name}/model"
    if wanted.warm_s:
        warmed(
            name="Warm the new version",
            unit=f"steelyard-vllm@{name}.service",
            mount=mount,
            folder=version,
            seconds=wanted.warm_s,
        )
    placed(
        name="Give the service its GPUs",
        service=name,
        unit=f"steelyard-vllm@{name}.service",
        needs=_needs(site, wanted),
        path=f"/etc/systemd/system/steelyard-vllm@{name}.service.d/60-gpus.conf",
        template=(TEMPLATES / "gpus.conf").read_text().replace("{halting}", HALTING_XIDS),
    )
    running(
        name="Run the service",
        unit=f"steelyard-vllm@{name}.service",
        config=stamp,
        mount=mount,
        mounted=version,
        files=("/etc/systemd/system/steelyard-vllm@.service", drop_in),
    )


def _needs(site: Site, wanted: Settings) -> tuple[dict[str, object], ...]:
    """Of all services of the host: they share its GPUs."""
    found = []
    for service in site.services_on(host.data.host_name):
        wish = Wish.of(service.serve)
        named = wanted.gpus.get(service.name, ())
        found.append(asdict(Need(service.name, wish.tensor * wish.pipeline, wish.utilization, tuple(named))))
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
    ports = [(service.name, service.serve.port) for service in services]
    plain = render(TEMPLATES / "front.cfg.j2", services=ports, socket=FRONT_SOCKET, versions=front.VERSIONS, stamp="")
    stamp = config_id(plain)
    config = render(TEMPLATES / "front.cfg.j2", services=ports, socket=FRONT_SOCKET, versions=front.VERSIONS, stamp=stamp)
    names = " ".join(service.name for service in services)
    unit = render(TEMPLATES / "front.service.j2", user=base.front_user, group=base.engine_user, names=names)
    content(name="Write the unit of the front", path="/etc/systemd/system/steelyard-front.service", content=unit)
    content(name="Make the table of versions", path=front.VERSIONS, content="# filled in the running front only\n")
    content(name="Configure the front", path="/etc/steelyard/front.cfg", content=config, check="/usr/sbin/haproxy -c -f")
    running(name="Run the front", unit="steelyard-front.service", files=("/etc/systemd/system/steelyard-front.service",))
    serving(name="Load the front's configuration", unit="steelyard-front.service", socket=FRONT_SOCKET, config=stamp)
