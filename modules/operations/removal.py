"""Removes things that are declared no more: services with their files and keys, what they left, the gateway's role.

What a host still has is its helper's answer to `remains`, one call for all of it.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from steelyard.api.change import Change, Effect
from steelyard.artifacts.helper import RUN_HELPER
from steelyard.modules.facts.helper import helper_fact
from steelyard_host import paths
from steelyard_host.engine.service import ACCOUNT, SECOND
from steelyard_host.wire.remains import LeftService, Remains
from steelyard_host.wire.services import ProxyState

UNITS = "/etc/systemd/system"
UNDECLARED = "no service of this host"
ONCE = "/run/systemd/system/haproxy.service.d"


def remains(units: tuple[str, ...]) -> Remains:
    """Return what the host in context has beside these units of services; nothing where its helper does not know."""
    return helper_fact(host, Remains, "remains", *units) or Remains()


def _removal(*bits: Any, subject: str, declared: str, live: str) -> Change:
    return Change(*bits, subject=subject, declared=declared, live=live, effect=Effect.REMOVAL)


def _stop(*bits: Any, subject: str, declared: str, live: str) -> Change:
    return Change(*bits, subject=subject, declared=declared, live=live, effect=Effect.STOP)


def _quoted(names: tuple[str, ...] | list[str]) -> list[Any]:
    return [QuoteString(name) for name in names]


def forgotten_commands(left: tuple[LeftService, ...]) -> list[StringCommand]:
    """Commands that stop what is set up and not declared, and remove its files: nobody new, whoever is there may
    finish, then it ends.

    Sockets and looks stop first: either would start an engine, or kill one that only finishes its work.
    """
    commands: list[StringCommand] = []
    for service in left:
        if not service.is_set_up:
            continue
        live = "another engine's" if service.replaced else "still set up"
        subject = next((unit for unit in service.units if _is_engine(unit)), f"service {service.name}")
        what = {"subject": subject, "declared": UNDECLARED, "live": live}
        first = [unit for unit in service.units if not _is_engine(unit)]
        marks: list[str] = []
        if f"steelyard-watch@{service.name}.timer" in first:  # a look may begin, and leave its mark, after this plan
            first = sorted({*first, f"steelyard-watch@{service.name}.service"})
            marks = [f"{paths.WATCHED}/{service.name}.json"]
        stops: list[Any] = []
        for units in (first, [unit for unit in service.units if _is_engine(unit)]):
            if units:
                stops += ["systemctl disable --now --quiet", *_quoted(units), "2>/dev/null;"]
                stops += ["systemctl reset-failed", *_quoted(units), "2>/dev/null;"]
        running = [f"! systemctl is-active --quiet {unit}" for unit in sorted({*service.units, *first})]
        if stops:
            commands.append(_stop(*stops, " && ".join(running), **what))
        files = [*service.files, *_drop_ins(service), *(mark for mark in marks if mark not in service.files)]
        if files:
            commands.append(_removal("rm -rf", *_quoted(files), "&& systemctl daemon-reload", **what))
        if service.account:
            commands.append(_account_removal(service))
    return commands


def _account_removal(service: LeftService) -> Change:
    """Remove the account of a service. What its engine wrote becomes root's first, for the next account that is made
    may get its number.
    """
    account = QuoteString(service.account)
    written = [QuoteString(paths.cache_of(name)) for name in (service.name, service.name + SECOND)]
    given = ["chown --recursive --no-dereference --silent root:root", *written, "2>/dev/null;"]
    gone = ["! getent passwd", account, ">/dev/null || userdel", account, ">&2"]
    return _removal(*given, *gone, subject=f"account {service.account}", declared=UNDECLARED, live="there")


def _is_engine(unit: str) -> bool:
    return not unit.startswith(("steelyard-watch@", "steelyard-lazy@"))


def _drop_ins(service: LeftService) -> list[str]:
    """Folders of drop-ins that the answer does not name, because an older command made them for a unit beside."""
    return [path for unit in service.units if (path := f"{UNITS}/{unit}.d") not in service.files and _is_engine(unit)]


def front_commands(files: tuple[str, ...]) -> list[StringCommand]:
    """Commands on a host without services: its proxy ends, its ports with it, and what services share is gone."""
    if not files:
        return []
    unit = "steelyard-front.service"
    what = {"subject": unit, "declared": "no service on this host", "live": "still set up"}
    commands: list[StringCommand] = []
    if f"{UNITS}/{unit}" in files:
        stop = "systemctl disable --now --quiet steelyard-front.service 2>/dev/null;"
        commands.append(_stop(stop, "! systemctl is-active --quiet steelyard-front.service", **what))
    commands.append(_removal("rm -f", *_quoted(files), "&& systemctl daemon-reload", **what))
    return commands


@operation()
def forgotten(units: tuple[str, ...], making_room: bool | None = None) -> Generator[StringCommand, None, None]:
    """Services that are declared no more, or run on another engine now, stop and start no more; on a host without
    services its proxy too.

    `units` are the declared ones. `making_room`: True before anything starts, does it only where something is to start
    that was not here; False, after the gateways know, only where nothing is. Caches, records and versions stay.
    """
    left = remains(units)
    commands = forgotten_commands(left.services) + front_commands(left.front)
    is_turn = making_room is None or making_room == makes_room(left)
    if not commands or not is_turn:
        host.noop("nothing is set up that is not declared" if is_turn else "it is not the time to stop what is not")
        return
    yield from commands


def makes_room(left: Remains) -> bool:
    """Whether what is declared no more has to go before what is new starts: both may need a port, or the GPUs."""
    return bool(left.starting) or any(service.replaced for service in left.services)


@operation()
def leavings_removed(units: tuple[str, ...]) -> Generator[StringCommand, None, None]:
    """Caches and records that services left behind, which are declared no more, are gone."""
    left = remains(units)
    kept = [service for service in left.services if service.kept]
    if not kept:
        host.noop("no service left anything behind")
    for service in kept:
        live = f"{service.kept_bytes >> 20} MiB are left"
        yield _removal(
            "rm -rf", *_quoted(service.kept), subject=f"caches of {service.name}", declared=UNDECLARED, live=live
        )


@operation()
def versions_removed(versions: tuple[str, ...], root: str, live: str) -> Generator[StringCommand, None, None]:
    """Versions (PROJECT@VERSION) of projects that are declared no more are gone, those that `current` names too.

    One that somebody has leased, or that a process uses, stays, and fails this host with its sentence.
    """
    if not versions:
        host.noop("every version is of a declared model")
        return
    argv = [RUN_HELPER, "store-forget --undeclared", QuoteString(root), *_quoted(versions)]
    check = '; echo "$said" >&2; case "$said" in *\'"stays": []\'*) ;; *) exit 1 ;; esac'
    yield _removal(
        "said=$(", *argv, ") || exit 1", check, subject=f"{root}: {', '.join(versions)}", declared="no model", live=live
    )


@operation()
def unrouted(socket: str, map_file: str, backends: tuple[str, ...]) -> Generator[StringCommand, None, None]:
    """A gateway that runs routes to none but `backends` (`alias-NAME`): who asks for another model is told at once.

    What it routed before goes on. The configuration, which is written later, says the same.
    """
    current = helper_fact(host, ProxyState, "haproxy", socket)
    servers = current.servers if current is not None else {}
    live = {server.split("/", 1)[0] for server in servers}
    gone = sorted(name for name in live - set(backends) if name.startswith("alias-"))
    if not gone:
        host.noop("every alias is declared")
        return
    argv = [RUN_HELPER, "haproxy-unmap", QuoteString(socket), QuoteString(map_file), *_quoted(gone), ">&2"]
    yield _removal(*argv, subject=f"aliases {', '.join(gone)}", declared="no alias", live="routed")


@operation()
def states_forgotten(socket: str, path: str, servers: tuple[str, ...]) -> Generator[StringCommand, None, None]:
    """The states that a reload of the gateway kept name none but `servers` (`backend/server`)."""
    from steelyard.modules.facts.path import Content

    lines = (host.get_fact(Content, path=path) or b"").decode(errors="replace").splitlines()
    named = {f"{fields[1]}/{fields[3]}" for line in lines if len(fields := line.split()) > 4 and fields[0].isdigit()}
    gone = sorted(name for name in named if name.startswith("alias-") and name not in servers)
    if not gone:
        host.noop("the kept states are of declared services")
        return
    argv = [RUN_HELPER, "haproxy-save", QuoteString(socket), QuoteString(path)]
    yield _removal(*argv, subject=path, declared="services that are declared", live=f"also {', '.join(gone)}")


@operation()
def gateway_removed(units: tuple[str, ...] = ()) -> Generator[StringCommand, None, None]:
    """A host that is in group `gateway` no more gives its shared address away, lets running requests finish, and ends.

    HAProxy itself stays installed. `units` are those of the host's services, for which its helper was asked already.
    """
    files = remains(units).gateway
    if not files:
        host.noop("this host is no gateway")
        return
    what = {"subject": "gateway of this host", "declared": "not in group `gateway`", "live": "still set up"}
    yield _removal("systemctl disable --now --quiet keepalived.service 2>/dev/null; true", **what)
    # what ends by itself would be started again: so says the distribution's unit
    once = f"install -d {ONCE} && printf '[Service]\\nRestart=no\\n' >{ONCE}/99-steelyard-end.conf"
    once += " && systemctl daemon-reload;"
    soft = "systemctl kill -s USR1 --kill-who=main haproxy.service 2>/dev/null;"
    wait = "for n in $(seq 120); do systemctl is-active --quiet haproxy.service || break; sleep 0.5; done;"
    end = "systemctl disable --now --quiet haproxy.service 2>/dev/null;"
    end += " systemctl reset-failed haproxy.service 2>/dev/null;"
    yield _removal(once, soft, wait, end, "! systemctl is-active --quiet haproxy.service", **what)
    gone = _quoted([*files, "/run/haproxy/servers.state", f"{ONCE}/99-steelyard-end.conf"])
    yield _removal("rm -rf", *gone, "&& systemctl daemon-reload", **what)


@operation()
def host_cleared(
    folders: tuple[str, ...], files: tuple[str, ...], own: tuple[str, ...], accounts: tuple[str, ...], homes: str
) -> Generator[StringCommand, None, None]:
    """The host has nothing of ours any more: no units, `folders`, `files` or `accounts`. Packages stay.

    `own`: files that somebody else may have written; those go that say that they are of a role. `homes`: the folder in
    which the accounts of services have their homes, which go too.
    """
    what = {"subject": "this host", "declared": "no part of the site", "live": "still set up"}
    pattern = QuoteString("steelyard-*")
    units = ["{ systemctl list-units --all --plain --no-legend --full", pattern, "| awk '{print $1}'; } |"]
    stop = "xargs -r systemctl disable --now --quiet 2>/dev/null;"
    ours = f"find {UNITS} -depth \\( -name 'steelyard-*' -o -name '50-steelyard*' \\) -exec rm -rf {{}} + ;"
    slices = ["systemctl stop", QuoteString("system-steelyard*.slice"), "2>/dev/null;"]  # systemd's own, of instances
    reload = [*slices, "systemctl daemon-reload; systemctl reset-failed", pattern, "2>/dev/null; true"]
    yield _removal(*units, stop, ours, *reload, **what)
    marked = [StringCommand("! grep -qs '^# steelyard'", name, "|| rm -f", name, ";") for name in _quoted(own)]
    yield _removal("rm -rf", *_quoted([*folders, *files]), "&& {", *marked, "}", **what)
    listed = f"""getent passwd | awk -F: '/^{ACCOUNT}/ && index($6, "{homes}/") == 1 {{ print $1 }}' |"""
    services = {"subject": "accounts of services", "declared": "no part of the site", "live": "there"}
    yield _removal(listed, 'while read -r name; do userdel "$name" >&2 || exit 1; done', **services)
    for account in accounts:
        name = QuoteString(account)
        subject, gone = f"account {account}", {"declared": "no part of the site", "live": "there"}
        yield _removal("! id -u", name, ">/dev/null 2>&1 || userdel", name, ">&2", subject=subject, **gone)
