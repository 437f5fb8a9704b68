"""A service's engine sleeps beside its unit while another version is on trial in it: the way back is a wake-up, not a start.

The unit has to end up with the new version as with any start of it, so the old engine is what moves: its processes go to a scope of
their own, `steelyard-asleep-NAME.scope`, its socket aside, and the unit starts anew. To go back, they are the unit's again.

An engine without a GPU stops scheduling and keeps its memory. With one it gives up what it has there but for 3 to 4 GiB; its weights
are read again when it wakes (level 2), or wait in the host's memory where they were quantized while they were loaded (level 1).
All of it lies in /run: a reboot leaves nothing.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from steelyard_host import control, engines, gpu, handover, ready, surge, trial
from steelyard_host.store import StoreError

KEPT = Path("/run/steelyard-asleep")
WAY_IN = "/run/systemd/incoming"
DROP_IN = "70-asleep.conf"  # after those of the service and of the trial
LEFT_ON_GPU = 4 * 2**30  # 3.5 GiB were measured on an H200: CUDA's context and graphs
# while engines move: whoever is the unit's main process may say so, and the engine's socket and mounts outlive a stop
MOVING = "[Service]\nNotifyAccess=all\nRuntimeDirectoryPreserve=yes\n"
# a folder that outlives a stop keeps the socket of one that was killed, and vLLM does not take its place
FRESH = "ExecStartPre=-+/usr/bin/rm -f /run/steelyard/%i/engine.sock\n"
EMPTY = "ExecCondition=\nExecStartPre=\nExecStart=\nExecStart=/usr/bin/sleep infinity\nExecStartPost=\n"


def why_not(service: str) -> str | None:
    """Why its engine cannot sleep beside another; None where it can."""
    if engines.kind(service).name != "vllm":
        return "its engine has no sleep mode"
    if engines.lazy(service):
        return "it is started by its first request, and rests by itself"
    uuids = gpu.held().get(service, []) if _on_gpu(service) else []
    if not uuids:
        return surge.short_of_memory(service)
    return _why_not_on(uuids, _options(service)) or surge.short_of_memory(service, _kept_bytes(service))


def _why_not_on(uuids: list[str], options: dict[str, str]) -> str | None:
    """Why its GPUs do not take a second engine beside one that sleeps."""
    if options.get("enable-sleep-mode") != "true":
        return "its engine was started without `enable-sleep-mode: true` (serve.options)"
    wanted = float(options.get("gpu-memory-utilization", 0.9))
    for device in gpu.nvml(set())["devices"]:
        if device.get("uuid") not in uuids:
            continue
        if device.get("compute_mode") not in (None, "default"):
            return "its GPU takes one process only: its compute mode is %s" % device["compute_mode"]
        whole = int(device["memory_bytes"])
        if wanted * whole + LEFT_ON_GPU > whole:
            most = 1 - LEFT_ON_GPU / whole
            return "one that sleeps keeps 4 GiB of its GPU: gpu_memory_utilization would have to be %.2f or less" % most
    return None


def _on_gpu(service: str) -> bool:
    """Whether any of its processes has a device of NVIDIA's open: one for processors has nothing there, whatever it was given."""
    for pid in handover.processes(engines.unit(service)):
        try:
            names = [os.readlink(entry) for entry in Path("/proc/%d/fd" % pid).iterdir()]
        except OSError:
            continue
        if any(name.startswith("/dev/nvidia") for name in names):
            return True
    return False


def level(service: str) -> int:
    """2 where weights can be read again in place."""
    return 1 if "quantization" in _options(service) else 2


def _options(service: str) -> dict[str, str]:
    """Of the engine's config: flat keys, a line each."""
    lines = engines.config_file(service).read_text().splitlines()
    return dict(found.groups() for line in lines if (found := re.match(r"([\w-]+): (.*)$", line)))  # type: ignore[misc]


def _kept_bytes(service: str) -> int:
    """What its weights take of the host's memory while it sleeps."""
    if level(service) == 2:
        return 0
    folder = Path("/proc/%d/root/run/steelyard/%s/model" % (handover.main_of(engines.unit(service)), service))
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))


# Away


def lie_down(service: str) -> None:
    """It sleeps, outside its unit, which may be started anew. Nothing runs on it. Raises StoreError; `wake` mends what was half done."""
    pid = handover.main_of(engines.unit(service))
    if not pid:
        raise StoreError("%s does not run" % service)
    _write(service, MOVING + FRESH)
    kept: dict[str, Any] = {"pid": pid, "born": _born(pid), "level": level(service)}
    _keep(service, kept)
    control.fall_asleep(service, kept["level"])
    _keep(service, {**kept, "used": _used(service)})
    handover.to_scope(engines.unit(service), _scope_name(service))
    aside = _aside(service)
    aside.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.rename(control.socket_of(service), aside)


# Back


def wake(service: str) -> None:
    """Back in its unit, and giving tokens, with whatever the unit runs now gone. Raises StoreError: it has to be started."""
    kept = _read(service)
    if not kept:
        return  # it was not put to sleep yet
    pid, unit = int(kept["pid"]), engines.unit(service)
    if _born(pid) != kept["born"]:
        raise StoreError("the engine that slept is not there any more")
    if pid in handover.processes(unit):  # it never left
        handover.be_main(unit, pid)
        _woken(service, kept)
        _forget(service)
        return
    _write(service, MOVING + EMPTY)
    # nothing runs on it any more, and its own way to end takes seconds
    subprocess.run(["systemctl", "kill", "--kill-who=all", "--signal=KILL", unit], stderr=subprocess.DEVNULL)
    handover.run("systemctl", "stop", unit)
    if _aside(service).exists():
        os.rename(_aside(service), control.socket_of(service))
    _own_tmp(pid)
    _woken(service, kept)
    _adopt(service, pid)
    _forget(service)


def _woken(service: str, kept: dict[str, Any]) -> None:
    """On a GPU that is not free yet a wake-up fails, and the engine is lost: vLLM does not take another one."""
    if "used" in kept:
        handover.until(lambda: _used(service) <= kept["used"] + 2**29, "its GPU is not free")
    control.wake(service, kept["level"])
    gives, why = ready.one_token(control.socket_of(service), service)
    if not gives:
        raise StoreError("it woke up and gives no token: %s" % why)


def _adopt(service: str, pid: int) -> None:
    """The unit starts with a process that does nothing, and the engine's become its own."""
    unit = engines.unit(service)
    subprocess.run(["systemctl", "reset-failed", unit], stderr=subprocess.DEVNULL)
    handover.run("systemctl", "start", unit)
    handover.take(unit, handover.processes(_scope_name(service)) | {pid})
    _own_way_in(service, pid)
    handover.be_main(unit, pid)


def _own_tmp(pid: int) -> None:
    """Its private /tmp was removed with the unit's stop; nothing can be mounted over a folder that is gone."""
    for path in ("/tmp", "/var/tmp"):
        _inside(pid, "umount", "--lazy", path)
        _inside(pid, "mount", "-t", "tmpfs", "-o", "mode=1777,nosuid,nodev", "tmpfs", path)


def _own_way_in(service: str, pid: int) -> None:
    """So was the folder through which `systemctl bind` of older systemds (252) moves mounts into it; the unit's new start made another."""
    if " %s " % WAY_IN not in Path("/proc/%d/mountinfo" % pid).read_text():
        return
    _inside(pid, "umount", "--lazy", WAY_IN)
    _inside(pid, "mount", "--bind", "/run/systemd/propagate/%s" % engines.unit(service), WAY_IN)
    _inside(pid, "mount", "--make-slave", WAY_IN)  # out of a shared one nothing can be moved


def _inside(pid: int, *words: str) -> None:
    """Where it sees its mounts."""
    handover.run("nsenter", "--target", str(pid), "--mount", *words)


def let_go(service: str) -> None:
    """Nothing is left of the one that slept, and of what was set for it."""
    scope = _scope_name(service)
    if not _read(service) and not _drop_in(service).exists():
        return
    subprocess.run(["systemctl", "kill", "--kill-who=all", "--signal=KILL", scope], stderr=subprocess.DEVNULL)
    subprocess.run(["systemctl", "stop", scope], stderr=subprocess.DEVNULL)
    _forget(service)


def give_up(service: str) -> None:
    """It is lost: its unit may start anew."""
    let_go(service)
    Path(control.socket_of(service)).unlink(missing_ok=True)


def _forget(service: str) -> None:
    _drop_in(service).unlink(missing_ok=True)
    subprocess.run(["systemctl", "daemon-reload"])
    shutil.rmtree(_aside(service).parent, ignore_errors=True)
    (KEPT / (service + ".json")).unlink(missing_ok=True)


def _born(pid: int) -> str:
    """When the process was started: another one may have its number. Empty where there is none."""
    try:
        return Path("/proc/%d/stat" % pid).read_text().rsplit(")", 1)[1].split()[19]
    except OSError:
        return ""


def _used(service: str) -> int:
    """Of its GPUs by anybody; bytes."""
    mine = gpu.held().get(service, [])
    return sum(int(device["used_bytes"]) for device in gpu.memory()["devices"] if device.get("uuid") in mine) if mine else 0


# What is written


def _scope_name(service: str) -> str:
    return "steelyard-asleep-%s.scope" % service


def _aside(service: str) -> Path:
    """Of the socket while it sleeps; in the same file system, so a rename keeps who listens."""
    return Path("/run/steelyard/%s--asleep/engine.sock" % service)


def _drop_in(service: str) -> Path:
    return engines.drop_ins(service, trial.TRIALS) / DROP_IN


def _write(service: str, text: str) -> None:
    path = _drop_in(service)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    handover.run("systemctl", "daemon-reload")


def _keep(service: str, kept: dict[str, Any]) -> None:
    KEPT.mkdir(mode=0o700, parents=True, exist_ok=True)
    (KEPT / (service + ".json")).write_text(json.dumps(kept))


def _read(service: str) -> dict[str, Any]:
    try:
        return dict(json.loads((KEPT / (service + ".json")).read_text()))
    except (OSError, ValueError):
        return {}
