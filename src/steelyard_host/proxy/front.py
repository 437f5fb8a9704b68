"""This host's local proxy in front of a service: whether its port is open. A gateway whose connection is refused tries
elsewhere, or waits.

Refused, and not answered with 503: HAProxy repeats a refused connection after a pause, and an answer at once.

A mark in /run keeps a service out over restarts of its engine and of the proxy, until the same hand lets it in again; a
reboot clears it.
"""

from __future__ import annotations

import http.client
import os
import time
from collections.abc import Sequence
from pathlib import Path

from steelyard_host import paths
from steelyard_host.engine import metrics, mounts
from steelyard_host.engine.service import HostService
from steelyard_host.proxy import haproxy
from steelyard_host.system import systemd

SOCKET = paths.PROXY_SOCKET
VERSIONS = paths.PROXY_VERSIONS  # empty on disk: what serves is told to the running proxy
MARKS = Path(paths.SWITCH_MARKS)
ROUTES = Path(paths.ROUTES)  # of services whose requests go to a second engine
POLL_S = 0.05
KEY_PATH = "/v1/steelyard/key"  # the proxy answers itself there, to who shows a key that it accepts


def _set_port(service: HostService, verb: str) -> bool:
    """The service's port is to `enable` or to `disable`; False where no proxy answers: then nothing gets in either."""
    try:
        haproxy.ask(SOCKET, "%s frontend tcp-%s" % (verb, service.name))
    except OSError:
        return False
    return True


def routed(service: HostService) -> HostService:
    """The engine that gets the service's requests: its own, or the second one of a surge."""
    try:
        return service.second if (ROUTES / service.name).read_text() == service.second.name else service
    except OSError:
        return service


def route(service: HostService, engine: HostService, leave: HostService | None) -> None:
    """New requests go to `engine`; those that run on `leave` go on. None: there is no second engine any more."""
    ROUTES.mkdir(mode=0o755, parents=True, exist_ok=True)
    (ROUTES / service.name).write_text(engine.name)
    _name_version(service, engine)
    _set_server(service, engine, "ready")
    if leave is not None:
        _set_server(service, leave, "drain")
    else:
        (ROUTES / service.name).unlink(missing_ok=True)
        _set_server(service, service.second, "maint")


def _set_server(service: HostService, engine: HostService, state: str) -> None:
    try:
        haproxy.ask(SOCKET, "set server engine-%s/%s state %s" % (service.name, engine.name, state))
    except OSError:
        pass  # no proxy: nothing gets in


def out(service: HostService, mark: bool = False) -> int:
    """New requests are turned away; what runs goes on. `mark`: also after a restart, until `back`.

    Where a second engine has its requests, an engine's own end turns nobody away; nor does that of a lazy one which
    nobody needs any more: its socket holds who comes next. Where a lazy one died, its proxy would answer at once that
    nobody is there.
    """
    died = os.environ.get("SERVICE_RESULT", "success") != "success"  # systemd says it to what runs after an engine
    if routed(service) != service or (service.is_lazy and not mark and not died):
        return 0
    if mark:
        MARKS.mkdir(mode=0o755, parents=True, exist_ok=True)
        (MARKS / service.name).touch()
    _set_port(service, "disable")
    return 0


def is_marked(service: HostService) -> bool:
    """Whether somebody keeps the service out on purpose."""
    return (MARKS / service.name).exists()


def unmark(service: HostService) -> None:
    """Let whoever sees the service give a token next let requests in."""
    (MARKS / service.name).unlink(missing_ok=True)


def back(service: HostService) -> None:
    """Requests are let in again, whoever kept them out."""
    unmark(service)
    _let_in(service)


def _let_in(service: HostService) -> None:
    """Requests come in, with the version that their answers will be marked with."""
    if routed(service) == service:
        _name_version(service, service)
    _set_port(service, "enable")


def _name_version(service: HostService, engine: HostService) -> None:
    """The proxy knows which version a service's answers are of: the one that `engine` has mounted."""
    mounted = mounts.mounted_version(systemd.main_pid(engine.unit), engine.name)
    try:
        haproxy.ask(SOCKET, "del map %s %s" % (VERSIONS, service.name))
        version = (mounted or "unknown").rsplit("/", 1)[-1]
        haproxy.ask(SOCKET, "add map %s %s %s" % (VERSIONS, service.name, version))
    except OSError:
        pass  # no proxy: it is told when it settles


def ready(service: HostService) -> None:
    """Lets in a service whose engine gives tokens, unless it is kept out on purpose."""
    if is_marked(service):
        _set_port(service, "disable")
    else:
        _let_in(service)


def drained(engine: HostService, seconds: float) -> float | None:
    """Waits until the engine works on nothing: seconds it took; None where requests were left after `seconds`.

    Twice in a row, because a request may be on its way from proxy to engine. An engine that does not answer works on
    nothing.
    """
    began, empty = time.monotonic(), 0
    while True:
        empty = 0 if _works(engine) else empty + 1
        if empty == 2:
            return time.monotonic() - began
        if time.monotonic() - began > seconds:
            return None
        time.sleep(POLL_S)


def _works(engine: HostService) -> bool:
    """Whether it works on a request, by its own counts and by the proxy's: an engine counts a request after its next
    step, which may take seconds.
    """
    counts = metrics.requests(engine)
    if not counts:
        return False
    return bool(counts.get("num_requests_running") or counts.get("num_requests_waiting") or running(engine))


def running(engine: HostService) -> int:
    """Requests that the proxy has sent to an engine and that have not ended. None run where no proxy answers."""
    try:
        rows = haproxy.stat(SOCKET)
    except OSError:
        return 0
    return sum(int(row["scur"]) for name, row in rows.items() if name.rsplit("/", 1)[1] == engine.name)


def drain(service: HostService, seconds: float) -> int:
    """ExecStop of an engine: nobody new, and those who are there may finish. Always 0: the stop goes on."""
    out(service)
    took = drained(service, seconds)
    print("requests were left after %d s" % seconds if took is None else "nothing runs after %.2f s" % took)
    return 0


def settle(services: Sequence[HostService]) -> int:
    """Close the ports that have no engine behind them: a start or a reload of the proxy opens every port."""
    for _ in range(3):  # after a reload, the first words may reach the process that leaves
        for service in services:
            engine = routed(service)
            if engine != service:
                route(service, engine, service)
            _name_version(service, engine)
            # one whose files are not written yet may be lazy: a closed port would never wake it
            is_down = bool(service.declared) and not Path(engine.socket).exists() and not service.is_lazy
            if is_down or is_marked(service):
                _set_port(service, "disable")
        time.sleep(0.2)
    return 0


def accept(fronts: Sequence[str], key: str) -> int:
    """Exit code 0 where each proxy (`ADDRESS:PORT`) that answers accepts the key; 1 and a sentence for each that does
    not.
    """
    refusing = [front for front in fronts if _status(front, key) == 401]
    for front in refusing:
        print("the front at %s does not accept the declared key yet: apply its host first, or with this one" % front)
    return 1 if refusing else 0


def _status(front: str, key: str) -> int | None:
    address, port = front.rsplit(":", 1)
    try:
        connection = http.client.HTTPConnection(address, int(port), timeout=3)
        connection.request("GET", KEY_PATH, headers={"Authorization": "Bearer " + key})
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
