"""Names that are well by themselves, and meet others where hosts have them: as folder, unit, backend or server."""

from __future__ import annotations

from collections.abc import Sequence

from steelyard.api.names import SERVER, SERVER_ADDRESS
from steelyard.errors import NamesMeet, NameWrong, SettingWrong
from steelyard.errors.visible import one_line
from steelyard.inventory.fleet import Fleet
from steelyard.inventory.locate import locate
from steelyard.site.site import LATE, Service, backend_name
from steelyard_host import paths

SOCKET_PATH = 107  # bytes that Linux takes as the path of a unix socket
LONGEST = SOCKET_PATH - len(paths.engine_socket("--surge"))  # name of a service: its second engine has a socket too
TAKEN = tuple(path.rsplit("/", 1)[1] for path in (paths.HELD, paths.WARMING))  # among the folders of services

HOST_NAME = "up to 253 of ASCII letters, digits and `._:-`, a letter or digit first"


def refuse_nested_projects(fleet: Fleet, projects: Sequence[str]) -> None:
    """Refuse a model whose folder lies in that of another, where versions lie. Raises NamesMeet."""
    for project in projects:
        outer = next((other for other in projects if project.startswith(f"{other}/")), None)
        if outer is not None:
            raise NamesMeet(
                where=locate(fleet.path, None, ("models", project)),
                first=f"model `{outer}`",
                second=f"model `{project}`",
                why=f"its folder lies in that of `{outer}`, where a version has its place",
                mend=f"rename one of them, so that none begins with the other: `{outer}/base` does not",
            )


def refuse_unfit_services(fleet: Fleet, services: Sequence[Service]) -> None:
    """Refuse what units, sockets and HAProxy cannot keep apart. Raises NamesMeet, NameWrong, SettingWrong."""
    units: dict[tuple[str, str], Service] = {}
    backends: dict[str, Service] = {}
    for service in services:
        _refuse_unfit_name(fleet, service)
        other = units.setdefault((service.host, service.name), service)
        if other is not service:
            raise _meet(fleet, other, service, f"both are service `{service.name}` on host `{service.host}`")
        if service.alias is not None:
            other = backends.setdefault(backend_name(service.alias), service)
            if other.alias != service.alias:
                why = f"both are backend `{backend_name(service.alias)}` of the gateways"
                raise _meet(fleet, other, service, why)
    _refuse_unfit_hosts(fleet, services)


def _refuse_unfit_name(fleet: Fleet, service: Service) -> None:
    if service.name in TAKEN or len(service.name) > LONGEST:
        keys = ("models", service.model, *(("alias",) if service.alias is not None else ()))
        allowed = (
            f"a name that is none of {', '.join(TAKEN)} as that of a service: these are folders of steelyard's own"
        )
        if len(service.name) > LONGEST:
            allowed = f"a name of at most {LONGEST} letters: the path of a socket, which takes no more, has it"
        where = locate(fleet.path, None, keys)
        raise SettingWrong(where=where, key=".".join(keys), found=repr(service.alias or service.model), allowed=allowed)


def _meet(fleet: Fleet, first: Service, second: Service, why: str) -> NamesMeet:
    keys = ("models", second.model, *(("alias",) if second.alias is not None else ()))
    return NamesMeet(
        where=locate(fleet.path, None, keys),
        first=_named(first),
        second=_named(second),
        why=why,
        mend=(
            f"give `{second.model}` another alias: in lower case, with `-` for whatever is no letter or digit, it must "
            "differ"
        ),
    )


def _named(service: Service) -> str:
    return f"alias `{service.alias}` of `{service.model}`" if service.alias is not None else f"model `{service.model}`"


def _refuse_unfit_hosts(fleet: Fleet, services: Sequence[Service]) -> None:
    """Refuse hosts that cannot be servers of HAProxy by their names, or whose names are those of others' twins."""
    for host in dict.fromkeys([*(service.host for service in services), *fleet.groups.get("gateway", ())]):
        if not SERVER.fullmatch(host):
            name = one_line(host)
            raise NameWrong(where=str(fleet.path), section="hosts of HAProxy", name=name, allowed=HOST_NAME)
    for service in services:
        if not SERVER_ADDRESS.fullmatch(service.address):
            where = locate(fleet.path, fleet.host(service.host), ("ansible_host",))
            allowed = "a host name or an IP address"
            raise SettingWrong(where=where, key="ansible_host", found=repr(service.address)[:120], allowed=allowed)
    by_alias: dict[str, dict[str, Service]] = {}
    for service in services:
        by_alias.setdefault(service.alias or "", {})[service.host] = service
    for alias, hosts in by_alias.items():
        twin = next((host for host in hosts if alias and host + LATE in hosts), None)
        if twin is not None:
            raise NamesMeet(
                where=locate(fleet.path, None, ("models", hosts[twin].model, "serve", "hosts")),
                first=f"host `{twin}`",
                second=f"host `{twin}{LATE}`",
                why=f"as servers of alias `{alias}` at the gateways, `{twin}{LATE}` is the name of both",
                mend=f"rename host `{twin}{LATE}`, or let only one of the two serve `{alias}`",
            )
