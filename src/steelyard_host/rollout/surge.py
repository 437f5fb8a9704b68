"""A second engine of a service, with another version, beside the first: requests go to it while the first is started
anew.

Everything about it lies in /run, so a reboot leaves nothing. Its unit is an instance of the engines' own,
`NAME--surge`, with a drop-in that gives it the service's environment and key, a config and a socket of its own, and
GPUs that nobody has. The local proxy knows both sockets; which of them gets requests is said to it, and its port stays
open.
"""

from __future__ import annotations

import fcntl
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

from steelyard_host import paths
from steelyard_host.causes import evidence
from steelyard_host.engine import probe
from steelyard_host.engine.service import SERVICES, TRIAL_UNITS, HostService
from steelyard_host.errors import HelperError
from steelyard_host.hardware import gpu
from steelyard_host.proxy import front
from steelyard_host.system import beneath, systemd

CONFIGS = Path(paths.SURGE)
DROP_IN = "50-surge.conf"
HELPER = " ".join(paths.HELPER_ARGV)


def no_room(service: HostService) -> str | None:
    """Return why this host has no room for a second engine, None where it has: by whole GPUs, or by memory where it has
    none.
    """
    if service.is_lazy:
        return "it is started by its first request, and a restart holds requests as that does"
    needed, free = len(gpu.held().get(service.name, ())), _free_gpus()
    if len(free) < needed:
        return "a second engine needs %d GPUs, and %d are free" % (needed, len(free))
    return short_of_memory(service)


def short_of_memory(service: HostService, more: int = 0) -> str | None:
    """Return why the host's memory does not take another such engine, and `more` bytes; None where it does."""
    needed, free_bytes = _resident(service) + more, _available()
    if needed > free_bytes:
        return "a second engine needs %.1f GiB of memory, and %.1f GiB are free" % (needed / 2**30, free_bytes / 2**30)
    return None


def _free_gpus() -> list[str]:
    """UUIDs of those that no service has, nor the second engine of another."""
    beside = gpu.held(TRIAL_UNITS, DROP_IN)
    taken = {uuid for held in (gpu.held(), beside) for uuids in held.values() for uuid in uuids}
    return [device["uuid"] for device in gpu.memory()["devices"] if device.get("uuid") and device["uuid"] not in taken]


def _resident(service: HostService) -> int:
    """Bytes of the whole unit, without what is only cached."""
    slice_name = "system-steelyard\\x2d%s.slice" % service.kind.name
    path = Path("/sys/fs/cgroup/system.slice") / slice_name / service.unit / "memory.stat"
    try:
        lines = dict(line.split() for line in path.read_text().splitlines())
    except OSError:
        return 0
    return int(lines.get("anon", 0)) + int(lines.get("shmem", 0))


def _available() -> int:
    match = re.search(r"^MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
    return int(match[1]) * 1024 if match else 0


class UnitTexts(NamedTuple):
    """Texts that systemd reads of a service: the engines' unit, and the drop-ins with its account and with its GPUs."""

    unit: str
    account: str
    gpus: str


def drop_in(service: HostService, texts: UnitTexts, folder: str, uuids: list[str], ready_s: int) -> str:
    """The drop-in of the second engine, which runs as the account of the first.

    Lists of systemd grow with each drop-in, so each is emptied before it is said again.
    """
    second, suffix = service.second, service.kind.config
    unit = texts.unit.splitlines()
    start = next(line for line in unit if line.startswith("ExecStart="))
    lines = [
        "[Service]",
        *(line for line in texts.account.splitlines() if line.startswith(("User=", "Group="))),
        "Restart=no",
        "ExecStartPre=",
        # what lets the proxy to its socket
        *(line for line in unit if line.startswith("ExecStartPre=")),
        "ExecStartPost=",
        "ExecStop=",
        "ExecStopPost=",
        "EnvironmentFile=",
        "EnvironmentFile=%s/%s.env" % (SERVICES, service.name),
        "ExecStart=",
        start.replace("%s/%%i%s" % (SERVICES, suffix), "%s/%s%s" % (CONFIGS, second.name, suffix)),
        "ExecStartPost=+%s ready-beside %s %s %d" % (HELPER, second.socket, service.name, ready_s),
        # should it die while requests go to it, its clients are held like anybody's
        "ExecStopPost=-+%s surge-gone %s" % (HELPER, service.name),
        "BindReadOnlyPaths=%s:%s" % (folder, second.model_mount),
    ]
    if "LoadCredential=" in texts.unit:  # of a release that gave engines a key
        lines += ["LoadCredential=", "LoadCredential=api_key:%s/%s" % (paths.KEYS, service.name)]
    if uuids:
        own = [line for line in texts.gpus.splitlines() if "=" in line and not line.startswith(("#", "ExecCondition="))]
        lines += [re.sub(r"CUDA_VISIBLE_DEVICES=.*", "CUDA_VISIBLE_DEVICES=" + ",".join(uuids), line) for line in own]
    return "\n".join([*lines, ""])


def start(service: HostService, folder: str, ready_s: int) -> None:
    """Starts the second engine and waits for its first token. Raises HelperError; nothing is left of it then."""
    CONFIGS.mkdir(mode=0o755, parents=True, exist_ok=True)
    with (CONFIGS / ".turn").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)  # two rollouts of this host must not take the same GPU
        reason = no_room(service)
        if reason is not None:
            raise HelperError(reason)
        _write(service, folder, ready_s)
    unit = service.second.unit
    systemd.daemon_reload()
    try:
        failed = not systemd.systemctl("start", unit, timeout=ready_s)
        cause = evidence.of_unit(unit) if failed else None
    except subprocess.TimeoutExpired:
        failed, cause = True, evidence.hangs(unit)
    if failed:
        stop(service)
        raise evidence.EngineDied("the second engine does not start", unit, cause)


def _config_file(service: HostService) -> Path:
    """The options of the second engine."""
    return CONFIGS / (service.second.name + service.kind.config)


def _write(service: HostService, folder: str, ready_s: int) -> None:
    """Its config and its drop-in."""
    second = service.second
    gpus = service.drop_ins / "60-gpus.conf"
    uuids = _free_gpus()[: len(gpu.held().get(service.name, ()))]
    config = _config_file(service)
    text = service.config_file.read_text()
    config.write_text(text.replace("%s/%s/" % (paths.RUN, service.name), "%s/%s/" % (paths.RUN, second.name)))
    config.chmod(0o640)
    shutil.chown(config, 0, service.config_file.stat().st_gid)
    path = second.trial_drop_ins / DROP_IN
    path.parent.mkdir(parents=True, exist_ok=True)
    account = service.account_file.read_text() if service.account_file.exists() else ""
    texts = UnitTexts(service.unit_file.read_text(), account, gpus.read_text() if uuids else "")
    path.write_text(drop_in(service, texts, folder, uuids, ready_s))


def shift(service: HostService, to_second: bool, drain_s: float) -> float:
    """Requests go to the other engine; seconds until the one they leave works on nothing. Raises HelperError: it does
    not end.
    """
    engine, left = (service.second, service) if to_second else (service, service.second)
    front.route(service, engine, left)
    took = front.drained(left, drain_s)
    if took is None:
        raise HelperError("requests were still running after %d s" % drain_s)
    return took


def stop(service: HostService) -> None:
    """Remove the second engine; requests go to the service's own."""
    second = service.second
    front.route(service, service, None)
    systemd.kill(second.unit)  # it works on nothing any more, and its own way to end takes seconds
    systemd.stop(second.unit)
    systemd.reset_failed(second.unit)
    shutil.rmtree(second.trial_drop_ins, ignore_errors=True)
    _config_file(service).unlink(missing_ok=True)
    beneath.discard_tree(Path(paths.cache_of(second.name)))  # it may be as deep as the engine made it
    systemd.systemctl("daemon-reload")


def gone(service: HostService) -> int:
    """ExecStopPost of the second engine: where requests went to it and the first is not there yet, they wait at the
    gateway.
    """
    if front.routed(service) == service.second:
        front.route(service, service, None)
        if not probe.one_token(service.socket, service.name, 5)[0]:
            front.out(service)
    return 0


def wait(path: str, service: str, seconds: float) -> int:
    """Ready, without a word to the proxy: requests come when they are sent. `service`: name that the engine serves."""
    began = time.monotonic()
    code = probe.wait(path, service, seconds)
    print("after %.1f s" % (time.monotonic() - began))
    return code
