"""A log of a service's starts: what the engine says between the process's first moment and the first token, one record
a start.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

from steelyard_host import paths
from steelyard_host.engine import ring_log
from steelyard_host.engine.service import HostService
from steelyard_host.system import systemd
from steelyard_host.wire.codec import WireError, from_json, to_json
from steelyard_host.wire.services import Phase, Start

RECORDS = Path(paths.START_RECORDS)
MOST = 20  # starts of a service
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


def start_of(lines: Iterable[tuple[float, str]], began: float, ended: float) -> Start:
    """Return what a log says of a start: the seconds of each phase in their order, and the engine's own numbers. Pure.

    `lines`: seconds of the epoch and what was said then; `ended`: when the first token came.
    """
    log = list(lines)
    phases: list[Phase] = []
    at = began
    for name, pattern in ENDS:
        times = [when for when, text in log if pattern.search(text)]
        if times and times[-1] >= at:
            phases.append(Phase(name, round(times[-1] - at, 3)))
            at = times[-1]
    phases.append(Phase("first_token", round(ended - at, 3)))
    said: dict[str, float] = {}
    for patterns, choose in ((SECONDS, max), (ROOM, min)):
        for name, pattern in patterns.items():
            values = [float(match[1].replace(",", "")) for _, text in log for match in [pattern.search(text)] if match]
            if values:
                said[name] = choose(values)
    return Start(round(began, 3), round(ended - began, 3), tuple(phases), said)


def parsed(text: str) -> list[tuple[float, str]]:
    """Lines of `journalctl -o short-unix`; continuation lines have no time and are left out."""
    matches = (re.match(r"(\d+\.\d+) \S+ (.*)", line) for line in text.splitlines())
    return [(float(match[1]), match[2]) for match in matches if match]


def note(service: HostService, version: str | None, pid: int) -> None:
    """Records a start whose first token has just come. One that cannot be recorded is a good start all the same."""
    ended = time.time()
    try:
        start = _last_start(service.unit, ended)._replace(version=version, engine=_engine(pid))
        ring_log.add(RECORDS, service.name, to_json(start), MOST)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        print("this start is not recorded: %s" % error)


def _last_start(unit: str, ended: float) -> Start:
    began_us = int(systemd.show_one(unit, "ExecMainStartTimestampMonotonic"))
    began = ended - (time.monotonic() - began_us / 1e6)
    argv = ["journalctl", "--no-pager", "-o", "short-unix", "--since", "@%d" % began, "-u", unit]
    log = subprocess.run(
        argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, errors="replace", timeout=60
    )
    return start_of([line for line in parsed(log.stdout) if line[0] >= began - 1], began, ended)


def _engine(pid: int) -> str | None:
    """Name of the environment that the process runs from, `vllm-0.32.0`."""
    try:
        argv = Path("/proc/%d/cmdline" % pid).read_bytes().decode(errors="replace").split("\0")
        return next((word.split("/")[4] for word in argv if word.startswith(paths.ENGINES + "/")), None)
    except (OSError, IndexError):
        return None


def read(service: str) -> list[Start]:
    """The last starts of a service, oldest first; empty where none was recorded, or what is there cannot be read."""
    try:
        return [from_json(Start, entry) for entry in ring_log.read(RECORDS, service)]
    except WireError:
        return []


def last(service: str) -> Start | None:
    """The last start of a service; None where none was recorded."""
    return next(reversed(read(service)), None)
