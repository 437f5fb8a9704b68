"""What runs on this host now, from live state: NVML, systemd, the engines' own metrics, the mounted version."""

from __future__ import annotations

import http.client
import re
import subprocess
from pathlib import Path
from typing import Any

from steelyard_host import engines, gpu, kills, starts
from steelyard_host.ready import SocketConnection, headers


def read() -> dict[str, Any]:
    return {"gpus": gpu.nvml(set()), "services": [service(name) for name in engines.services()]}


def unit_properties(unit: str) -> dict[str, str]:
    names = "ActiveState,SubState,Result,MainPID,ActiveEnterTimestamp,NRestarts,TimeoutStopUSec"
    done = subprocess.run(["systemctl", "show", unit, "--property=" + names], stdout=subprocess.PIPE, text=True)
    return dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)


def mounted_version(pid: str, name: str) -> str | None:
    """`PROJECT/VERSION` that the process sees at its constant model path; the last mount wins."""
    path = "/run/steelyard/%s/model" % name
    found = None
    try:
        for line in Path("/proc/%s/mountinfo" % pid).read_text().splitlines():
            fields = line.split()
            if fields[4] == path:
                found = fields[3]
    except OSError:
        return None
    return found


UNITS_S = {"ms": 0.001, "s": 1, "min": 60, "h": 3600, "d": 86400, "w": 604800}


def seconds(text: str) -> float | None:
    """Of systemd's `2min 5s`; None where it is no time: `infinity`."""
    found = re.findall(r"([\d.]+)(ms|min|s|h|d|w)", text)
    return sum(float(number) * UNITS_S[unit] for number, unit in found) if found else None


COUNTS = ("num_requests_running", "num_requests_waiting", "request_success_total")
GROWING = ("generation_tokens_total", "prompt_tokens_total", "request_success_total")


def metrics(name: str, wanted: tuple[str, ...]) -> dict[str, float]:
    """The engine's own counters, summed over their labels; empty where it does not answer."""
    try:
        connection = SocketConnection("/run/steelyard/%s/engine.sock" % name, 5)
        connection.request("GET", "/metrics", headers=headers(name))
        text = connection.getresponse().read().decode()
    except (OSError, http.client.HTTPException):
        return {}
    return counted(text, engines.kind(name), wanted)


def counted(text: str, kind: engines.Kind, wanted: tuple[str, ...]) -> dict[str, float]:
    """Counters of a /metrics page under the names that vLLM gives them. Pure."""
    counts: dict[str, float] = {}
    for line in text.splitlines():
        matched = re.match(r"%s:(\w+)(?:\{[^}]*\})? (\S+)" % kind.name, line)
        for known in kind.counters.get(matched[1], (matched[1],)) if matched else ():
            if matched and known in wanted:
                counts[known] = counts.get(known, 0) + float(matched[2])
    return counts


def requests(name: str) -> dict[str, float]:
    """Running, waiting and finished requests as the engine counts them."""
    return metrics(name, COUNTS)


def counters(name: str) -> dict[str, float]:
    """Sums and counts from which means over a while are made."""
    timed = ("time_to_first_token_seconds", "inter_token_latency_seconds")
    return metrics(name, tuple("%s_%s" % (what, kind) for what in timed for kind in ("sum", "count")))


def moved(name: str) -> float:
    """A number that grows while the engine works on anything."""
    return sum(metrics(name, GROWING).values())


def service(name: str) -> dict[str, Any]:
    unit = engines.unit(name)
    shown = unit_properties(unit)
    pid = shown.get("MainPID", "0")
    return {
        "name": name,
        "unit": unit,
        "load": "lazy" if engines.lazy(name) else "preload",
        "state": shown.get("ActiveState", "unknown"),
        "detail": shown.get("SubState", ""),
        "since": shown.get("ActiveEnterTimestamp", ""),
        "result": shown.get("Result", ""),
        "restarts": int(shown.get("NRestarts") or 0),
        "killed": kills.read(name),
        "stop_s": seconds(shown.get("TimeoutStopUSec", "")),
        "mounted": mounted_version(pid, name) if pid != "0" else None,
        "start": next(reversed(starts.read(name)), None),
        "requests": requests(name) if shown.get("ActiveState") == "active" else {},
    }
