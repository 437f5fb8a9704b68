"""A lazy service on its host: a socket that starts a proxy that needs the engine; and nothing of that where it is not
lazy.
"""

from __future__ import annotations

from pathlib import Path

from steelyard.api.template import render
from steelyard.modules.operations.path import file, file_absent
from steelyard.modules.operations.unit import loaded, on_demand, running, stopped
from steelyard.roles.base.settings import Settings as BaseSettings
from steelyard.site.site import Service

from .settings import Settings

TEMPLATES = Path(__file__).parent / "templates"
UNITS = "/etc/systemd/system"
PROXY = "/usr/lib/systemd/systemd-socket-proxyd"
ROOM_S = 60  # for what others still have to finish, beside their own time to drain


def lazy_units(base: BaseSettings) -> None:
    """Shared by all lazy services of a host."""
    socket = render(TEMPLATES / "lazy.socket.j2", group=base.engine_user)
    proxy = render(TEMPLATES / "lazy.service.j2", user=base.engine_user, proxy=PROXY)
    file(name="Write the socket of lazy services", path=f"{UNITS}/steelyard-lazy@.socket", content=socket)
    file(name="Write the proxy of lazy services", path=f"{UNITS}/steelyard-lazy@.service", content=proxy)


def engine_drop_in(service: Service) -> str:
    """Read before the version's, whose warming belongs after the room is made."""
    return f"{UNITS}/{service.unit}.d/40-lazy.conf"


def write_lazy(service: Service, wanted: Settings) -> None:
    """Write the drop-ins of a lazy service, or remove them."""
    if not service.lazy:
        file_absent(name="Remove what made it lazy", path=engine_drop_in(service))
        return
    room_s = wanted.drain_s + ROOM_S
    own = render(
        TEMPLATES / "lazy-engine.conf.j2",
        name=service.name,
        drain_s=wanted.drain_s,
        room_s=room_s,
        start_s=wanted.warm_s + wanted.ready_s + 60 + room_s,
    )
    proxy = render(TEMPLATES / "lazy-proxy.conf.j2", unit=service.unit, idle_s=service.serve.idle_s, proxy=PROXY)
    file(name="Make it lazy", path=engine_drop_in(service), content=own)
    file(name="Have its proxy need it", path=_proxy_drop_in(service), content=proxy)


def _proxy_drop_in(service: Service) -> str:
    return f"{UNITS}/steelyard-lazy@{service.name}.service.d/50-engine.conf"


def run_lazy(service: Service, stamp: str, mount: str, version: str, files: tuple[str, ...], drain_s: int) -> None:
    """The socket listens; the engine, where it runs, runs as declared, and else starts so."""
    on_demand(
        name="Have the service wait for requests",
        service=service.name,
        unit=service.unit,
        config=stamp,
        mount=mount,
        mounted=version,
        files=(*files, engine_drop_in(service)),
        drain_s=drain_s,
    )
    proxy_files = (f"{UNITS}/steelyard-lazy@.service", _proxy_drop_in(service))
    loaded(name="Load its proxy", unit=f"steelyard-lazy@{service.name}.service", files=proxy_files)
    running(
        name="Listen for its first request",
        unit=f"steelyard-lazy@{service.name}.socket",
        files=(f"{UNITS}/steelyard-lazy@.socket",),
    )


def stop_lazy(service: Service) -> None:
    stopped(name="Listen for it no more", unit=f"steelyard-lazy@{service.name}.socket")
    stopped(name="Stop its proxy", unit=f"steelyard-lazy@{service.name}.service")
