"""A service's engine sleeps beside its unit while another version is on trial in it: the way back is a wake-up, not a
start.

The unit has to end up with the new version as with any start of it, so the old engine is what moves: its processes go
to a scope of their own, `steelyard-asleep-NAME.scope`, its socket aside, and the unit starts anew. To go back, they are
the unit's again.

An engine without a GPU stops scheduling and keeps its memory. With one it gives up what it has there but for 3 to 4
GiB; its weights are read again when it wakes (level 2), or wait in the host's memory where they were quantized while
they were loaded (level 1). All of it lies in /run: a reboot leaves nothing.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import NamedTuple

from steelyard_host import paths
from steelyard_host.engine import control_api, probe
from steelyard_host.engine.service import HostService
from steelyard_host.errors import HelperError
from steelyard_host.hardware import gpu
from steelyard_host.rollout import process_handover, surge
from steelyard_host.system import json_file, systemd, vanishing
from steelyard_host.wire.codec import WireError, from_json, to_json

RECORDS = Path(paths.ASLEEP)
INCOMING = "/run/systemd/incoming"
DROP_IN = "70-asleep.conf"  # after those of the service and of the trial
LEFT_ON_GPU = 4 * 2**30  # 3.5 GiB were measured on an H200: CUDA's context and graphs
# while engines move: whoever is the unit's main process may say so, and the engine's socket and mounts outlive a stop
MOVING = "[Service]\nNotifyAccess=all\nRuntimeDirectoryPreserve=yes\n"
# a folder that outlives a stop keeps the socket of one that was killed, and vLLM does not take its place
FRESH = "ExecStartPre=-+/usr/bin/rm -f /run/steelyard/%i/engine.sock\n"
EMPTY = "ExecCondition=\nExecStartPre=\nExecStart=\nExecStart=/usr/bin/sleep infinity\nExecStartPost=\n"


class SleepingEngine(NamedTuple):
    """The engine that was put to sleep, as recorded in /run.

    `pid` and `born`: its process, and the kernel's time of its start; `used`: bytes of its GPUs that were in use by
    anybody once it slept, None until then.
    """

    pid: int
    born: str
    level: int
    used: int | None = None


def why_not(service: HostService) -> str | None:
    """Return why the service's engine cannot sleep beside another; None where it can."""
    if service.kind.name != "vllm":
        return "its engine has no sleep mode"
    if service.is_lazy:
        return "it is started by its first request, and rests by itself"
    uuids = gpu.held().get(service.name, []) if _on_gpu(service) else []
    if not uuids:
        return surge.short_of_memory(service)
    return _why_not_on(uuids, _options(service)) or surge.short_of_memory(service, _weights_in_memory(service))


def _why_not_on(uuids: list[str], options: dict[str, str]) -> str | None:
    """Why its GPUs do not take a second engine beside one that sleeps."""
    if options.get("enable-sleep-mode") != "true":
        return "its engine was started without `enable-sleep-mode: true` (serve.options)"
    share = float(options.get("gpu-memory-utilization", 0.9))
    for device in gpu.nvml(set())["devices"]:
        if device.get("uuid") not in uuids:
            continue
        if device.get("compute_mode") not in (None, "default"):
            return "its GPU takes one process only: its compute mode is %s" % device["compute_mode"]
        whole = int(device["memory_bytes"])
        if share * whole + LEFT_ON_GPU > whole:
            most = 1 - LEFT_ON_GPU / whole
            return "one that sleeps keeps 4 GiB of its GPU: gpu_memory_utilization would have to be %.2f or less" % most
    return None


def _on_gpu(service: HostService) -> bool:
    """Whether any of its processes has a device of NVIDIA's open: one for processors has nothing there, whatever it was
    given.
    """
    for pid in process_handover.processes(service.unit):
        # one that is closed meanwhile says nothing of the others
        for entry in vanishing.entries(Path("/proc/%d/fd" % pid)):
            try:
                if os.readlink(entry).startswith("/dev/nvidia"):
                    return True
            except OSError:
                continue
    return False


def level(service: HostService) -> int:
    """The level of its sleep: 2 where weights can be read again in place, else 1."""
    return 1 if "quantization" in _options(service) else 2


def _options(service: HostService) -> dict[str, str]:
    """Options of the engine's config: flat keys, a line each."""
    matches = (re.match(r"([\w-]+): (.*)$", line) for line in service.config_file.read_text().splitlines())
    return {match[1]: match[2] for match in matches if match}


def _weights_in_memory(service: HostService) -> int:
    """What its weights take of the host's memory while it sleeps; bytes."""
    if level(service) == 2:
        return 0
    folder = Path("/proc/%d/root%s" % (systemd.main_pid(service.unit), service.model_mount))
    return sum(status.st_size for _, status in vanishing.stats(folder.glob("*.safetensors")))


# Away


def put_to_sleep(service: HostService) -> None:
    """The engine sleeps, outside its unit, which may be started anew. Nothing runs on it. Raises HelperError; `wake`
    mends what was half done.
    """
    pid = systemd.main_pid(service.unit)
    if not pid:
        raise HelperError("%s does not run" % service.name)
    _write_drop_in(service, MOVING + FRESH)
    sleeping = SleepingEngine(pid, _born(pid), level(service))
    _record(service, sleeping)
    control_api.sleep(service, sleeping.level)
    _record(service, sleeping._replace(used=_used(service)))
    process_handover.to_scope(service.unit, _scope_name(service))
    aside = _aside(service)
    aside.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.rename(service.socket, aside)


# Back


def wake(service: HostService) -> None:
    """The engine is back in its unit and gives tokens; whatever the unit runs now is gone. Raises HelperError: it has
    to be started.
    """
    sleeping = _recorded(service)
    if sleeping is None:
        return  # it was not put to sleep yet
    pid, unit = sleeping.pid, service.unit
    if _born(pid) != sleeping.born:
        raise HelperError("the engine that slept is not there any more")
    if pid in process_handover.processes(unit):  # it never left
        process_handover.make_main(unit, pid)
        _wake_engine(service, sleeping)
        _forget(service)
        return
    _write_drop_in(service, MOVING + EMPTY)
    systemd.kill(unit)  # nothing runs on it any more, and its own way to end takes seconds
    systemd.run("systemctl", "stop", unit)
    if _aside(service).exists():
        os.rename(_aside(service), service.socket)
    _own_tmp(pid)
    _wake_engine(service, sleeping)
    _adopt(service, pid)
    _forget(service)


def _wake_engine(service: HostService, sleeping: SleepingEngine) -> None:
    """On a GPU that is not free yet a wake-up fails, and the engine is lost: vLLM does not take another one."""
    used = sleeping.used
    if used is not None:
        systemd.until(lambda: _used(service) <= used + 2**29, "its GPU is not free")
    control_api.wake(service, sleeping.level)
    gives, reason = probe.one_token(service.socket, service.name)
    if not gives:
        raise HelperError("it woke up and gives no token: %s" % reason)


def _adopt(service: HostService, pid: int) -> None:
    """The unit starts with a process that does nothing, and the engine's become its own."""
    unit = service.unit
    systemd.reset_failed(unit)
    systemd.start(unit)
    process_handover.take(unit, process_handover.processes(_scope_name(service)) | {pid})
    _own_incoming(service, pid)
    process_handover.make_main(unit, pid)


def _own_tmp(pid: int) -> None:
    """Its private /tmp was removed with the unit's stop; nothing can be mounted over a folder that is gone."""
    for path in ("/tmp", "/var/tmp"):
        _inside(pid, "umount", "--lazy", path)
        _inside(pid, "mount", "-t", "tmpfs", "-o", "mode=1777,nosuid,nodev", "tmpfs", path)


def _own_incoming(service: HostService, pid: int) -> None:
    """So was the folder through which `systemctl bind` of older systemds (252) moves mounts into it; the unit's new
    start made another.
    """
    if " %s " % INCOMING not in Path("/proc/%d/mountinfo" % pid).read_text():
        return
    _inside(pid, "umount", "--lazy", INCOMING)
    _inside(pid, "mount", "--bind", "/run/systemd/propagate/%s" % service.unit, INCOMING)
    _inside(pid, "mount", "--make-slave", INCOMING)  # out of a shared one nothing can be moved


def _inside(pid: int, *argv: str) -> None:
    """A command where the process sees its mounts. Raises HelperError."""
    systemd.run("nsenter", "--target", str(pid), "--mount", *argv)


def release(service: HostService) -> None:
    """Remove the engine that slept, and all that was set for it."""
    if _recorded(service) is None and not _drop_in(service).exists():
        return
    systemd.kill(_scope_name(service))
    systemd.stop(_scope_name(service))
    _forget(service)


def give_up(service: HostService) -> None:
    """The engine that slept is lost: its unit may start anew."""
    release(service)
    Path(service.socket).unlink(missing_ok=True)


def _forget(service: HostService) -> None:
    _drop_in(service).unlink(missing_ok=True)
    systemd.systemctl("daemon-reload")
    shutil.rmtree(_aside(service).parent, ignore_errors=True)
    _record_path(service).unlink(missing_ok=True)


def _born(pid: int) -> str:
    """When the process was started: another one may have its number. Empty where there is none."""
    try:
        return Path("/proc/%d/stat" % pid).read_text().rsplit(")", 1)[1].split()[19]
    except OSError:
        return ""


def _used(service: HostService) -> int:
    """Bytes of its GPUs that are in use by anybody."""
    uuids = gpu.held().get(service.name, [])
    if not uuids:
        return 0
    return sum(int(device["used_bytes"]) for device in gpu.memory()["devices"] if device.get("uuid") in uuids)


# What is written


def _scope_name(service: HostService) -> str:
    return "steelyard-asleep-%s.scope" % service.name


def _aside(service: HostService) -> Path:
    """Where its socket is while it sleeps; in the same file system, so a rename keeps who listens."""
    return Path(paths.engine_socket(service.name + "--asleep"))


def _drop_in(service: HostService) -> Path:
    return service.trial_drop_ins / DROP_IN


def _write_drop_in(service: HostService, text: str) -> None:
    path = _drop_in(service)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    systemd.daemon_reload()


def _record_path(service: HostService) -> Path:
    return RECORDS / (service.name + ".json")


def _record(service: HostService, sleeping: SleepingEngine) -> None:
    RECORDS.mkdir(mode=0o700, parents=True, exist_ok=True)
    json_file.write_atomically(_record_path(service), to_json(sleeping))


def _recorded(service: HostService) -> SleepingEngine | None:
    """The engine that was put to sleep; None where none was, or nobody can read which."""
    try:
        return from_json(SleepingEngine, json_file.read(_record_path(service)))
    except WireError:
        return None
