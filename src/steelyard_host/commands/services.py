"""Commands of what serves: engines, their units, the watchdog, the gateway's HAProxy, and the host's status."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from steelyard_host.commands import Add, Arguments
from steelyard_host.commands.lazy_modules import (
    beside,
    command_progress,
    evidence,
    front,
    haproxy,
    metrics,
    mounts,
    on_demand,
    probe,
    remains,
    service,
    start_log,
    status,
    surge,
    watchdog,
)
from steelyard_host.wire.services import TokenAnswer

DRAIN_S = 60  # that a second engine gets to finish, which served because the service's own did not start


def loaded(name: str) -> service.HostService:
    """The service of that name, as this host declares it now: the type of an argument."""
    return service.HostService.load(name)


def register(add: Add) -> None:
    _engines(add)
    _on_demand(add)
    _units(add)
    _haproxy(add)
    add("services", "services this host has units of", lambda _: service.engine_units())
    left = add("remains", "what is left of services beside these units", lambda args: remains.read(args.units))
    left.add_argument("units", nargs="*")
    hosts = add(
        "hosts-remember",
        "note which hosts were applied, as standard input says, and forget others",
        lambda args: remains.remember(json.load(sys.stdin), args.names),
    )
    hosts.add_argument("names", nargs="*", metavar="FORGOTTEN")
    add("status", "GPUs, services and requests of this host", lambda _: status.read())
    counters = add("service-counters", "what an engine counted", lambda args: metrics.counters(args.service))
    counters.add_argument("service", type=loaded)


def _engines(add: Add) -> None:
    def wait(args: Arguments) -> int:
        exit_status = probe.wait(args.socket, args.service.name, args.seconds)
        if exit_status == 0:
            pid = int(os.environ.get("MAINPID") or 0)
            start_log.note(args.service, mounts.mounted_version(pid, args.service.name), pid)
            front.ready(args.service)
            beside.end_left(args.service, DRAIN_S)
        return exit_status

    def one_token(args: Arguments) -> TokenAnswer:
        return TokenAnswer(*probe.one_token(args.socket, args.service.name, 20))

    ready = add("ready", "wait until the engine generates a token, and record the start", wait)
    token = add("token", "whether the engine generates a token now", one_token)
    second = add(
        "ready-beside",
        "the same of a second engine",
        lambda args: surge.wait(args.socket, args.service.name, args.seconds),
    )
    for command in (ready, token, second):
        command.add_argument("socket")
        command.add_argument("service", type=loaded)
    for command in (ready, second):
        command.add_argument("seconds", type=float)
    watch = add(
        "watch",
        "kill an engine that generates nothing any more",
        lambda args: watchdog.run(args.service, args.seconds),
    )
    watch.add_argument("service", type=loaded)
    watch.add_argument("seconds", type=float)


def _on_demand(add: Add) -> None:
    room = add(
        "lazy-room",
        "have others rest until a service has room",
        lambda args: on_demand.make_room(args.service, args.drain_s, args.seconds),
    )
    rest = add(
        "lazy-rest",
        "stop a service; its next request starts it",
        lambda args: 0 if on_demand.idle_stop(args.service, args.drain_s) else 1,
    )
    for command in (room, rest):
        command.add_argument("service", type=loaded)
        command.add_argument("drain_s", type=float)
        command.add_argument("--seconds", type=float, default=60)


def _units(add: Add) -> None:
    cause = add("cause", "why a unit's last start failed, or it died", lambda args: evidence.show(args.unit))
    cause.add_argument("unit")
    install = add(
        "install-wheels",
        "run pip, and tell how far it is",
        lambda args: command_progress.install(args.folder, args.index, args.lock, args.words),
    )
    install.add_argument("folder")
    install.add_argument("index")
    install.add_argument("lock", type=Path)
    start = add(
        "start-unit",
        "run a start, and tell what the engine is at",
        lambda args: command_progress.start(args.unit, args.words),
    )
    start.add_argument("unit")
    for command in (install, start):
        command.add_argument("words", nargs=argparse.REMAINDER)


def _haproxy(add: Add) -> None:
    def set_weights(args: Arguments) -> Any:
        pairs = (word.split("=") for word in args.weights)
        return haproxy.weigh(args.socket, {name: int(weight) for name, weight in pairs})

    state = add("haproxy", "what a running HAProxy was started with", lambda args: haproxy.state(args.socket))
    save = add(
        "haproxy-save", "keep what HAProxy knows of its servers", lambda args: haproxy.save(args.socket, args.file)
    )
    weigh = add("haproxy-weigh", "set weights of servers", set_weights)
    healthy = add(
        "haproxy-wait",
        "wait until HAProxy sees servers healthy",
        lambda args: haproxy.wait_healthy(args.socket, args.seconds, args.servers),
    )
    hold = add(
        "haproxy-hold",
        "requests wait so long for a server, until the next reload",
        lambda args: haproxy.hold(args.socket, args.config, args.seconds),
    )
    unmap = add(
        "haproxy-unmap",
        "route to backends no more",
        lambda args: haproxy.unmap(args.socket, args.map, args.backends),
    )
    for command in (state, save, weigh, healthy, hold, unmap):
        command.add_argument("socket")
    hold.add_argument("config", type=Path)
    hold.add_argument("seconds", type=int)
    unmap.add_argument("map")
    unmap.add_argument("backends", nargs="+")
    save.add_argument("file")
    accepted = add(
        "key-accepted",
        "whether fronts accept the key on standard input",
        lambda args: front.accept(args.fronts, sys.stdin.readline().strip()),
    )
    accepted.add_argument("fronts", nargs="+", metavar="ADDRESS:PORT")
    weigh.add_argument("weights", nargs="+", metavar="BACKEND/SERVER=WEIGHT")
    healthy.add_argument("seconds", type=float)
    healthy.add_argument("servers", nargs="+")
