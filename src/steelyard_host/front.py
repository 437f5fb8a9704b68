"""This host's front for a service: whether its port is open. A gateway whose connection is refused tries elsewhere, or waits.

Refused, and not answered with 503: HAProxy repeats a refused connection after a pause, and an answer at once.

A mark in /run keeps a service out over restarts of its engine and of the front, until the same hand lets it in again; a reboot
clears it.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from steelyard_host import control, engines, haproxy, status

SOCKET = "/run/steelyard-front/admin.sock"
VERSIONS = "/etc/steelyard/front-versions.map"  # empty on disk: what serves is told to the running front
MARKS = Path("/run/steelyard-switch")
ROUTES = Path("/run/steelyard-routes")  # of services whose requests go to a second engine
LOOK_S = 0.05


def _tell(service: str, word: str) -> bool:
    """False where no front answers: then nothing gets in either."""
    try:
        haproxy.ask(SOCKET, "%s frontend tcp-%s" % (word, service))
    except OSError:
        return False
    return True


def routed(service: str) -> str:
    """Name of the engine that gets the service's requests: its own, or the second one of a surge."""
    try:
        return (ROUTES / service).read_text()
    except OSError:
        return service


def route(service: str, to: str, leave: str | None) -> None:
    """New requests go to engine `to`; those that run on `leave` go on."""
    ROUTES.mkdir(mode=0o755, parents=True, exist_ok=True)
    (ROUTES / service).write_text(to)
    pid = status.unit_properties(engines.unit(to)).get("MainPID", "0")
    name_version(service, status.mounted_version(pid, to))
    _server(service, to, "ready")
    if leave is not None:
        _server(service, leave, "drain")
    else:
        (ROUTES / service).unlink(missing_ok=True)
        _server(service, service + "--surge", "maint")


def _server(service: str, name: str, state: str) -> None:
    try:
        haproxy.ask(SOCKET, "set server engine-%s/%s state %s" % (service, name, state))
    except OSError:
        pass  # no front: nothing gets in


def out(service: str, mark: bool = False) -> int:
    """New requests are turned away; what runs goes on. `mark`: also after a restart, until `back`.

    Where a second engine has its requests, an engine's own end turns nobody away; nor does that of a lazy one which nobody needs any
    more: its socket holds who comes next. Where a lazy one died, its proxy would answer at once that nobody is there.
    """
    died = os.environ.get("SERVICE_RESULT", "success") != "success"  # systemd says it to what runs after an engine
    if routed(service) != service or (engines.lazy(service) and not mark and not died):
        return 0
    if mark:
        MARKS.mkdir(mode=0o755, parents=True, exist_ok=True)
        (MARKS / service).touch()
    _tell(service, "disable")
    return 0


def unmark(service: str) -> None:
    """Whoever sees it give a token next may let requests in."""
    (MARKS / service).unlink(missing_ok=True)


def back(service: str) -> None:
    """Requests are let in again, whoever kept them out."""
    unmark(service)
    _let_in(service)


def _let_in(service: str) -> None:
    """With the version that its answers will be marked with."""
    if routed(service) == service:
        pid = status.unit_properties(engines.unit(service)).get("MainPID", "0")
        name_version(service, status.mounted_version(pid, service))
    _tell(service, "enable")


def name_version(service: str, mounted: str | None) -> None:
    """Tell the front which version a service's answers are of."""
    try:
        haproxy.ask(SOCKET, "del map %s %s" % (VERSIONS, service))
        haproxy.ask(SOCKET, "add map %s %s %s" % (VERSIONS, service, (mounted or "unknown").rsplit("/", 1)[-1]))
    except OSError:
        pass  # no front: it is told when it settles


def ready(service: str) -> None:
    """Its engine gives tokens: let in what is not kept out on purpose."""
    if (MARKS / service).exists():
        _tell(service, "disable")
    else:
        _let_in(service)


def drained(service: str, seconds: float) -> float | None:
    """Wait until the engine works on nothing: seconds it took; None where requests were left after `seconds`.

    Twice in a row, because a request may be on its way from front to engine. An engine that does not answer works on nothing.
    """
    began, empty = time.monotonic(), 0
    while True:
        empty = 0 if _works(service) else empty + 1
        if empty == 2:
            return time.monotonic() - began
        if time.monotonic() - began > seconds:
            return None
        time.sleep(LOOK_S)


def _works(service: str) -> bool:
    """By the engine's own counts, and by the front's: an engine counts a request after its next step, which may take seconds."""
    counts = status.requests(service)
    if not counts:
        return False
    return bool(counts.get("num_requests_running") or counts.get("num_requests_waiting") or running(service))


def running(service: str) -> int:
    """Requests that the front has sent to an engine and that have not ended. None run where no front answers."""
    try:
        rows = haproxy.stat(SOCKET)
    except OSError:
        return 0
    return sum(int(row["scur"]) for name, row in rows.items() if name.rsplit("/", 1)[1] == service)


def drain(service: str, seconds: float) -> int:
    """ExecStop of an engine: nobody new, and those who are there may finish. Always 0: the stop goes on."""
    out(service)
    took = drained(service, seconds)
    print("requests were left after %d s" % seconds if took is None else "nothing runs after %.2f s" % took)
    return 0


def settle(services: list[str]) -> int:
    """After a start or a reload of the front, which opens every port: close those that have no engine behind them."""
    for _ in range(3):  # after a reload, the first words may reach the process that leaves
        for service in services:
            name = routed(service)
            if name != service:
                route(service, name, service)
            pid = status.unit_properties(engines.unit(name)).get("MainPID", "0")
            name_version(service, status.mounted_version(pid, name))
            asleep = not Path(control.socket_of(name)).exists() and not engines.lazy(service)
            if asleep or (MARKS / service).exists():
                _tell(service, "disable")
        time.sleep(0.2)
    return 0
