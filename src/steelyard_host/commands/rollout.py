"""Commands of a switch from one version of a model to another, and of the proxy in front of the engines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from steelyard_host.commands import Add, Arguments
from steelyard_host.commands.lazy_modules import beside, evidence, front, process_handover, surge, switch
from steelyard_host.commands.services import loaded
from steelyard_host.wire.rollout import NO_TRIAL


def register(add: Add) -> None:
    _proxy(add)
    _switch(add)
    again = add(
        "surge-restart",
        "start an engine anew while a second one serves",
        lambda args: beside.restart(args.service, args.folder, args.ready_s, args.drain_s),
    )
    again.add_argument("service", type=loaded)
    again.add_argument("folder")
    again.add_argument("ready_s", type=int)
    again.add_argument("drain_s", type=float)
    gone = add("surge-gone", "requests find another way", lambda args: surge.gone(args.service))
    gone.add_argument("service", type=loaded)
    hold = add(
        "unit-hold",
        "say which process is a unit's main one",
        lambda args: process_handover.hold(args.group, args.pid),
    )
    hold.add_argument("group")
    hold.add_argument("pid")


def _proxy(add: Add) -> None:
    def close(args: Arguments) -> Any:
        evidence.tell_memory()
        return front.out(args.service)

    drain = add(
        "drain",
        "turn new requests away, and wait for those that run",
        lambda args: front.drain(args.service, args.seconds),
    )
    drain.add_argument("service", type=loaded)
    drain.add_argument("seconds", type=float)
    add("front-out", "close a service's port", close).add_argument("service", type=loaded)
    settle = add(
        "front-settle", "close the ports that have no engine behind them", lambda args: front.settle(args.services)
    )
    settle.add_argument("services", type=loaded, nargs="*")


def _switch(add: Add) -> None:
    state = add(
        "switch-state",
        "what a service serves, comes up with, and was switched to last",
        lambda args: switch.state(args.root, args.project, args.service),
    )
    confirm = add(
        "switch-confirm",
        "a version on trial stays",
        lambda args: switch.confirm(args.root, args.project, args.service, args.run),
    )
    for command in (state, confirm):
        command.add_argument("root", type=Path)
        command.add_argument("project")
    add("switch-try", "try the version that standard input names", lambda _: switch.attempt(switch.read_request()))
    carry_out = add(
        "switch-carry-out", "the trial itself, in a unit of its own", lambda args: switch.carry_out(args.service)
    )
    undo = add(
        "switch-undo",
        "back to the version of before the trial",
        lambda args: switch.undo(args.service, args.run, args.why) or NO_TRIAL,
    )
    for command in (state, confirm, carry_out, undo):
        command.add_argument("service", type=loaded)
    confirm.add_argument("run")
    undo.add_argument("--run", default="")
    undo.add_argument("--why", default="nobody confirmed it in time")
