"""A second engine of a service, with another version, beside the first: requests go to it while the first is started anew.

Everything about it lies in /run, so a reboot leaves nothing. Its unit is an instance of the engines' own, `NAME--surge`, with a drop-in
that gives it the service's environment and key, a config and a socket of its own, and GPUs that nobody has. The front knows both
sockets; which of them gets requests is said to it, and its port stays open.
"""

from __future__ import annotations

import fcntl
import re
import shutil
import subprocess
import time
from pathlib import Path

from steelyard_host import control, engines, front, gpu, ready
from steelyard_host.store import StoreError

CACHES = Path("/var/cache/steelyard")
TRIALS = Path("/run/systemd/system")
CONFIGS = Path("/run/steelyard-surge")
DROP_IN = "50-surge.conf"
HELPER = "/usr/bin/python3 -I /usr/lib/steelyard/steelyard-host.pyz"


def twin(service: str) -> str:
    """Name of the second engine."""
    return service + "--surge"


def spare(service: str) -> str | None:
    """Why this host has no room for a second engine; None where it has. By whole GPUs, or by memory where there are none."""
    if engines.lazy(service):
        return "it is started by its first request, and a restart holds requests as that does"
    wanted, free = len(gpu.held().get(service, ())), _free_gpus()
    if len(free) < wanted:
        return "a second engine needs %d GPUs, and %d are free" % (wanted, len(free))
    return short_of_memory(service)


def short_of_memory(service: str, more: int = 0) -> str | None:
    """Why the host's memory does not take another engine like the service's, and `more` bytes; None where it does."""
    need, free_bytes = _resident(service) + more, _available()
    if need > free_bytes:
        return "a second engine needs %.1f GiB of memory, and %.1f GiB are free" % (need / 2**30, free_bytes / 2**30)
    return None


def _free_gpus() -> list[str]:
    """UUIDs of those that no service has, nor the second engine of another."""
    beside = gpu.held(TRIALS, DROP_IN)
    taken = {uuid for held in (gpu.held(), beside) for uuids in held.values() for uuid in uuids}
    return [device["uuid"] for device in gpu.memory()["devices"] if device.get("uuid") and device["uuid"] not in taken]


def _resident(service: str) -> int:
    """Of the whole unit, without what is only cached; bytes."""
    slice_name = "system-steelyard\\x2d%s.slice" % engines.kind(service).name
    path = Path("/sys/fs/cgroup/system.slice") / slice_name / engines.unit(service) / "memory.stat"
    try:
        lines = dict(line.split() for line in path.read_text().splitlines())
    except OSError:
        return 0
    return int(lines.get("anon", 0)) + int(lines.get("shmem", 0))


def _available() -> int:
    found = re.search(r"^MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def drop_in(unit: str, gpus: str, service: str, folder: str, uuids: list[str], ready_s: int, suffix: str = ".yaml") -> str:
    """`unit` and `gpus`: text of the engines' unit and of the service's GPU drop-in; `suffix`: of its config. Lists are emptied before they are said again."""
    name = twin(service)
    start = next(line for line in unit.splitlines() if line.startswith("ExecStart="))
    lines = [
        "[Service]", "Restart=no", "ExecStartPre=", "ExecStartPost=", "ExecStop=", "ExecStopPost=", "EnvironmentFile=",
        "EnvironmentFile=%s/%s.env" % (engines.SERVICES, service), "ExecStart=",
        start.replace("%s/%%i%s" % (engines.SERVICES, suffix), "%s/%s%s" % (CONFIGS, name, suffix)),
        "ExecStartPost=+%s ready-beside /run/steelyard/%s/engine.sock %s %d" % (HELPER, name, service, ready_s),
        # should it die while requests go to it, its clients are held like anybody's
        "ExecStopPost=-+%s surge-gone %s" % (HELPER, service), "BindReadOnlyPaths=%s:/run/steelyard/%s/model" % (folder, name),
    ]  # fmt: skip
    if "LoadCredential=" in unit:
        lines += ["LoadCredential=", "LoadCredential=api_key:/etc/steelyard/keys/%s" % service]
    if uuids:
        kept = [line for line in gpus.splitlines() if "=" in line and not line.startswith(("#", "ExecCondition="))]
        lines += [re.sub(r"CUDA_VISIBLE_DEVICES=.*", "CUDA_VISIBLE_DEVICES=" + ",".join(uuids), line) for line in kept]
    return "\n".join([*lines, ""])


def start(service: str, folder: str, ready_s: int) -> None:
    """Until it gives a token. Raises StoreError; nothing is left of it then."""
    CONFIGS.mkdir(mode=0o755, parents=True, exist_ok=True)
    with (CONFIGS / ".turn").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)  # two rollouts of this host must not take the same GPU
        why = spare(service)
        if why is not None:
            raise StoreError(why)
        _write(service, folder, ready_s)
    name = twin(service)
    subprocess.run(["systemctl", "daemon-reload"], check=True)
    try:
        started = subprocess.run(["systemctl", "start", engines.unit(name)], stderr=subprocess.DEVNULL, timeout=ready_s)
        failed = started.returncode != 0
    except subprocess.TimeoutExpired:
        failed = True
    if failed:
        stop(service)
        raise StoreError("the second engine does not start: `journalctl -u %s`" % (engines.unit(name)))


def _write(service: str, folder: str, ready_s: int) -> None:
    """Its config and its drop-in."""
    name = twin(service)
    gpus = engines.drop_ins(service) / "60-gpus.conf"
    uuids = _free_gpus()[: len(gpu.held().get(service, ()))]
    own_config = engines.config_file(service)
    owner = own_config.stat()
    config = engines.config_file(name, CONFIGS)
    text = own_config.read_text()
    config.write_text(text.replace("/run/steelyard/%s/" % service, "/run/steelyard/%s/" % name))
    config.chmod(0o640)
    shutil.chown(config, 0, owner.st_gid)
    path = engines.drop_ins(name, TRIALS) / DROP_IN
    path.parent.mkdir(parents=True, exist_ok=True)
    own = engines.unit_file(service).read_text()
    made = drop_in(own, gpus.read_text() if uuids else "", service, folder, uuids, ready_s, own_config.suffix)
    path.write_text(made)


def shift(service: str, to_twin: bool, drain_s: float) -> float:
    """Requests go to the other engine; seconds until the one they leave works on nothing. Raises StoreError: it does not end."""
    mine, other = (twin(service), service) if to_twin else (service, twin(service))
    front.route(service, mine, other)
    took = front.drained(other, drain_s)
    if took is None:
        raise StoreError("requests were still running after %d s" % drain_s)
    return took


def stop(service: str) -> None:
    """Nothing is left of the second engine."""
    name = twin(service)
    front.route(service, service, None)
    unit = engines.unit(name)
    # it works on nothing any more, and its own way to end takes seconds
    subprocess.run(["systemctl", "kill", "--kill-who=all", "--signal=KILL", unit], stderr=subprocess.DEVNULL)
    subprocess.run(["systemctl", "stop", unit], stderr=subprocess.DEVNULL)
    subprocess.run(["systemctl", "reset-failed", unit], stderr=subprocess.DEVNULL)
    shutil.rmtree(engines.drop_ins(name, TRIALS), ignore_errors=True)
    engines.config_file(name, CONFIGS).unlink(missing_ok=True)
    shutil.rmtree(CACHES / name, ignore_errors=True)
    subprocess.run(["systemctl", "daemon-reload"])


def gone(service: str) -> int:
    """ExecStopPost of the second engine: where requests went to it and the first is not there yet, they wait at the gateway."""
    if front.routed(service) == twin(service):
        front.route(service, service, None)
        if not ready.one_token(control.socket_of(service), service, 5)[0]:
            front.out(service)
    return 0


def wait(path: str, service: str, seconds: float) -> int:
    """Ready, without a word to the front: requests come when they are sent."""
    began = time.monotonic()
    done = ready.wait(path, service, seconds)
    print("after %.1f s" % (time.monotonic() - began))
    return done
