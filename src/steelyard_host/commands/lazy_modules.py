"""Modules of the helper that are loaded when a command asks for them: hosts compile what they load at every call."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any


class LazyModule:
    """Stands for a module, and loads it at the first look at one of its names."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(import_module("steelyard_host." + self._name), attribute)


if TYPE_CHECKING:
    from steelyard_host.causes import evidence as evidence
    from steelyard_host.dify import archive as archive
    from steelyard_host.dify import backup as backup
    from steelyard_host.dify import env_file as env_file
    from steelyard_host.dify import exclusive as exclusive
    from steelyard_host.dify import job_progress as job_progress
    from steelyard_host.dify import lifecycle as lifecycle
    from steelyard_host.dify import rehearsal as rehearsal
    from steelyard_host.dify import stack as stack
    from steelyard_host.dify import staging as staging
    from steelyard_host.dify import upgrade as upgrade
    from steelyard_host.engine import load_bench as load_bench
    from steelyard_host.engine import metrics as metrics
    from steelyard_host.engine import mounts as mounts
    from steelyard_host.engine import probe as probe
    from steelyard_host.engine import service as service
    from steelyard_host.engine import start_log as start_log
    from steelyard_host.hardware import gpu as gpu
    from steelyard_host.hardware import machine as machine
    from steelyard_host.memory import lock as lock
    from steelyard_host.memory import warm as warm
    from steelyard_host.mirror import registry as registry
    from steelyard_host.mirror import wheels as wheels
    from steelyard_host.proxy import front as front
    from steelyard_host.proxy import haproxy as haproxy
    from steelyard_host.rollout import beside as beside
    from steelyard_host.rollout import process_handover as process_handover
    from steelyard_host.rollout import surge as surge
    from steelyard_host.rollout import switch as switch
    from steelyard_host.store import adopt as adopt
    from steelyard_host.store import compile_cache as compile_cache
    from steelyard_host.store import garbage as garbage
    from steelyard_host.store import layout as layout
    from steelyard_host.store import leases as leases
    from steelyard_host.store import publish as publish
    from steelyard_host.store import relay as relay
    from steelyard_host.store import sharded_variant as sharded_variant
    from steelyard_host.store import verify as verify
    from steelyard_host.supervise import command_progress as command_progress
    from steelyard_host.supervise import on_demand as on_demand
    from steelyard_host.supervise import remains as remains
    from steelyard_host.supervise import status as status
    from steelyard_host.supervise import watchdog as watchdog
else:
    MODULES = {
        "causes": "evidence",
        "dify": "archive backup env_file exclusive job_progress lifecycle rehearsal stack staging upgrade",
        "engine": "load_bench metrics mounts probe service start_log",
        "hardware": "gpu machine",
        "memory": "lock warm",
        "mirror": "registry wheels",
        "proxy": "front haproxy",
        "rollout": "beside process_handover surge switch",
        "store": "adopt compile_cache garbage layout leases publish relay sharded_variant verify",
        "supervise": "command_progress on_demand remains status watchdog",
    }
    globals().update({name: LazyModule(f"{room}.{name}") for room, names in MODULES.items() for name in names.split()})
