"""How starts of a service went: what its log says between the process's first moment and the first token, one record a start."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from steelyard_host import records

RECORDS = Path("/var/lib/steelyard/starts")
KEPT = 20  # starts of a service
# a phase ends with the last line that says so; where none does, its time counts to the next one
ENDS = (
    ("import", re.compile(r"Starting to load model|Initializing an? .*LLM engine|load_model: loading model")),
    ("weights", re.compile(r"Model loading took|Loading weights took|init: model loaded")),
    ("compile", re.compile(r"torch\.compile took|saved AOT compiled function|Directly load AOT compilation")),
    ("profile", re.compile(r"profiling/warmup run took|KV cache size:")),
    ("capture", re.compile(r"Graph capturing finished")),
    ("warm_up", re.compile(r"init engine \(.*\) took")),
    ("server", re.compile(r"Application startup complete|listening on unix:")),
)
# every worker says them: seconds of the slowest count, and the smallest cache
SECONDS = {
    "weights_read_s": re.compile(r"Loading weights took ([\d.]+) seconds"),
    "compile_s": re.compile(r"torch\.compile took ([\d.]+) s in total"),
    "capture_s": re.compile(r"Graph capturing finished in (\d+) secs"),
}
ROOM = {
    "cache_gib": re.compile(r"Available KV cache memory: ([\d.]+) GiB"),
    "cache_tokens": re.compile(r"KV cache size: ([\d,]+) tokens"),
}


def phases(lines: Iterable[tuple[float, str]], began: float, ended: float) -> dict[str, Any]:
    """`lines`: when, and what. Seconds of each phase in their order, and what the engine says of itself. Pure."""
    kept = list(lines)
    found: list[tuple[str, float]] = []
    at = began
    for name, pattern in ENDS:
        times = [when for when, text in kept if pattern.search(text)]
        if times and times[-1] >= at:
            found.append((name, round(times[-1] - at, 3)))
            at = times[-1]
    found.append(("first_token", round(ended - at, 3)))
    said: dict[str, float] = {}
    for patterns, choose in ((SECONDS, max), (ROOM, min)):
        for name, pattern in patterns.items():
            values = [float(match[1].replace(",", "")) for _, text in kept for match in [pattern.search(text)] if match]
            if values:
                said[name] = choose(values)
    told = [{"phase": name, "seconds": seconds} for name, seconds in found]
    return {"began": round(began, 3), "seconds": round(ended - began, 3), "phases": told, "said": said}


def parsed(text: str) -> list[tuple[float, str]]:
    """Lines of `journalctl -o short-unix`; continuation lines have no time and are left out."""
    matches = (re.match(r"(\d+\.\d+) \S+ (.*)", line) for line in text.splitlines())
    return [(float(match[1]), match[2]) for match in matches if match]


def note(service: str, unit: str, version: str | None, pid: str) -> None:
    """Called when a start has given its first token. A start that cannot be recorded is a good one all the same."""
    ended = time.time()
    try:
        record = {**_looked_up(unit, ended), "version": version, "engine": _engine(pid)}
        records.add(RECORDS, service, record, KEPT)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        print("this start is not recorded: %s" % error)


def _looked_up(unit: str, ended: float) -> dict[str, Any]:
    shown = subprocess.run(
        ["systemctl", "show", "--value", "--property=ExecMainStartTimestampMonotonic", unit],
        stdout=subprocess.PIPE, text=True, timeout=20, check=True,
    )  # fmt: skip
    began = ended - (time.monotonic() - int(shown.stdout) / 1e6)
    words = ["journalctl", "--no-pager", "-o", "short-unix", "--since", "@%d" % began, "-u", unit]
    log = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, errors="replace", timeout=60)
    return phases([line for line in parsed(log.stdout) if line[0] >= began - 1], began, ended)


def _engine(pid: str) -> str | None:
    """Name of the environment that the process runs from, `vllm-0.32.0`."""
    try:
        words = Path("/proc/%s/cmdline" % pid).read_bytes().decode(errors="replace").split("\0")
        return next((word.split("/")[4] for word in words if word.startswith("/opt/steelyard/engines/")), None)
    except (OSError, IndexError):
        return None


def read(service: str) -> list[dict[str, Any]]:
    """Oldest first; empty where nothing was recorded yet."""
    return records.read(RECORDS, service)
