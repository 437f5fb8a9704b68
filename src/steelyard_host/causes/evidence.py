"""Reads what `causes` judges: the journal of an engine's unit, the kernel's word on memory, and what systemd knows of
the unit's limits.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from steelyard_host.causes import journal as journals
from steelyard_host.engine import kill_log
from steelyard_host.engine.service import SERVICES, HostService, services
from steelyard_host.errors import HelperError
from steelyard_host.wire.codec import to_json
from steelyard_host.wire.rollout import Cause
from steelyard_host.wire.services import TroubledService

LINES = 1500  # of a unit's journal: a failed start of vLLM prints some 300
KILLED_S = 60  # within which an engine ends that the watch killed
KERNEL_S = 0.05  # by which the kernel's clock and that of the journal may differ
SHOWN = 15  # lines of the journal beside a cause
MARK = "steelyard-cause "  # before the JSON of a cause, where a command's last line carries one
PROPERTIES = "ActiveState,SubState,Result,NRestarts,MemoryMax"


def of_unit(unit: str, lines: Sequence[str] | None = None) -> Cause | None:
    """The cause of the end of a unit's last start; None where none failed or ended, or its journal is gone.

    `lines`: its journal, where it is known.
    """
    journal = _journal(unit) if lines is None else list(lines)
    starts = [start for start in journals.starts(journal, unit) if journals.is_failed(start)]
    if not starts:
        return None
    return _judged(unit, starts[-1])


class EngineDied(HelperError):
    """An engine that did not start or died: what was to be done, and the cause, None where none is known."""

    def __init__(self, what: str, unit: str, cause: Cause | None) -> None:
        self.cause = cause
        super().__init__("%s: %s" % (what, cause.sentence if cause is not None else "see `journalctl -u %s`" % unit))


def show(unit: str) -> int:
    """Prints the journal's last lines to standard error, and the cause behind `MARK`: a failed start ends with it.

    Always 0.
    """
    journal = _journal(unit)
    cause = of_unit(unit, journal)
    shown = [journals.bare(line) for line in journal[-SHOWN:]]
    if cause is not None:
        shown.append(MARK + json.dumps({"service": _service(unit), **to_json(cause)}))
    print("\n".join(shown), file=sys.stderr)
    return 0


def of_service(service: HostService, shown: dict[str, str]) -> Cause | None:
    """The cause of a service that failed, or came back; None, and nothing read, where all is as it should be.

    `shown` are its unit's properties.
    """
    state, sub = shown.get("ActiveState"), shown.get("SubState")
    ok = state in ("active", "inactive") and shown.get("Result", "success") == "success"
    begins = state == "activating" and sub != "auto-restart"  # what it was once is not what it is now
    if (ok or begins) and not int(shown.get("NRestarts") or 0):
        return None
    return of_unit(service.unit)


def of_services() -> list[TroubledService]:
    """Services of this host that failed, or came back."""
    troubled = []
    for service in services():
        cause = of_service(service, _properties(service.unit))
        if cause is not None:
            troubled.append(TroubledService(service.name, service.unit, cause))
    return troubled


def now(unit: str) -> Cause | None:
    """The cause of a unit that still runs and does not work, by what its processes have said since its start.

    None where they said nothing of trouble.
    """
    started = journals.starts(_journal(unit), unit)
    return _judged(unit, started[-1]) if started else None


def hangs(unit: str) -> Cause | None:
    """The cause of a unit that starts for too long: where it stands, where no process tells of trouble."""
    from steelyard_host.causes import diagnosis

    started = journals.starts(_journal(unit), unit)
    return (_judged(unit, started[-1]) or diagnosis.slow(started[-1])) if started else None


def _judged(unit: str, start: Sequence[str]) -> Cause | None:
    from steelyard_host.causes import diagnosis  # some thousand lines of rules, which no service that runs needs

    service = _service(unit)
    began = _when(start[0])
    kernel = _kernel(unit, start, began)
    limit = re.sub(r"\D", "", _properties(unit).get("MemoryMax", ""))
    return diagnosis.cause(
        [*start, *kernel],
        diagnosis.Host(
            unit=unit,
            kind=HostService.load(service).kind.name,
            memory_bytes=_memory_bytes(),
            limit_bytes=int(limit or 0),
            amx="amx_tile" in _read("/proc/cpuinfo"),
            environment=_environment(service),
            watch_killed=_watch_killed(service, began, _when(start[-1])),
        ),
    )


def _journal(unit: str) -> list[str]:
    """Its last lines, those too that a busy journald had not written yet."""
    _output(["journalctl", "--sync"])
    argv = [
        "journalctl",
        "--no-pager",
        "--boot",
        "--all",
        "-o",
        "short-unix",
        "--no-hostname",
        "-n",
        str(LINES),
        "-u",
        unit,
    ]
    return _output(argv).splitlines()


def _kernel(unit: str, start: Sequence[str], began: float) -> list[str]:
    """Lines of the kernel on processes of this unit that it killed for memory, by control group or number."""
    argv = [
        "journalctl",
        "--no-pager",
        "--dmesg",
        "--boot",
        "-o",
        "short-unix",
        "--no-hostname",
        "--since",
        "@%d" % (began - 1),
    ]
    log = [
        line for line in _output([*argv, "--grep=oom-kill:|Killed process"]).splitlines() if not line.startswith("-- ")
    ]
    if not log:  # a container has no kernel log in its journal
        log = _of_ring(began)
    pids = {match["pid"] for match in (journals.LINE.match(line) for line in start) if match}
    mine: set[str] = set()
    for line in log:
        match = re.search(r"task_memcg=(?P<group>[^,]*),task=[^,]*,pid=(?P<pid>\d+)", line)
        if match and match["pid"] not in pids and _when(line) < began - KERNEL_S:
            continue  # of the start before, a moment ago
        if match and (
            match["group"].rsplit("/", 1)[-1] == unit or "/%s/" % unit in match["group"] or match["pid"] in pids
        ):
            mine.add(match["pid"])
    kills = []
    for line in log:
        match = re.search(r"Killed process (\d+) ", line)
        if match and match[1] in mine:
            kills.append("kernel[0]: " + line.split(": ", 1)[-1])
    return kills


def _of_ring(began: float) -> list[str]:
    """The kernel's ring since then; its times are seconds since boot."""
    since = began - (time.time() - time.clock_gettime(time.CLOCK_MONOTONIC)) - 1
    lines = []
    for line in _output(["dmesg"]).splitlines():
        match = re.match(r"\[ *(\d+\.\d+)\] (.*)", line)
        if match and float(match[1]) >= since:
            lines.append("%.6f kernel: %s" % (float(match[1]) - since + began - 1, match[2]))
    return lines


def _watch_killed(service: str, began: float, ended: float) -> str:
    """Why the watch killed it between those times; empty where it did not."""
    kills = [
        entry for entry in kill_log.read(service) if began <= entry.at and ended - KILLED_S <= entry.at <= ended + 5
    ]
    return str(kills[-1].why) if kills else ""


def tell_memory() -> None:
    """Prints how much memory the unit that ends had at most: into its journal, while its control group is there."""
    if os.environ.get("SERVICE_RESULT") not in ("oom-kill", "signal"):
        return
    peak, limit = memory_of(_read("/proc/self/cgroup"), Path("/sys/fs/cgroup"))
    if peak:
        print("memory of the unit: peak %d of %d bytes" % (peak, limit), flush=True)


def memory_of(groups: str, root: Path) -> tuple[int, int]:
    """Peak and limit of the control group that /proc/PID/cgroup names, in bytes; 0 where not known, or no limit.

    Both hierarchies are read.
    """
    paths = {line.split(":")[1]: line.split(":", 2)[2] for line in groups.splitlines() if line.count(":") >= 2}
    if "memory" in paths:  # version 1, also beside version 2
        folder, names = (
            root / "memory" / paths["memory"].lstrip("/"),
            ("memory.max_usage_in_bytes", "memory.limit_in_bytes"),
        )
    else:
        folder, names = root / paths.get("", "").lstrip("/"), ("memory.peak", "memory.max")
    peak, limit = (_number(_read(folder / name)) for name in names)
    return peak, limit if limit < 1 << 60 else 0  # version 1 has no word for none


def _number(text: str) -> int:
    return int(text) if text.strip().isdigit() else 0


def _memory_bytes() -> int:
    line = re.search(r"^MemTotal:\s+(\d+) kB", _read("/proc/meminfo"), re.MULTILINE)
    return int(line[1]) * 1024 if line else 0


def _properties(unit: str) -> dict[str, str]:
    lines = _output(["systemctl", "show", unit, "--property=" + PROPERTIES]).splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def _when(line: str) -> float:
    match = re.match(r"(\d+\.\d+) ", line)
    return float(match[1]) if match else time.time()


def _read(path: Any) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def _output(argv: Sequence[str]) -> str:
    try:
        done = subprocess.run(
            argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, errors="replace", timeout=30
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout


def _environment(service: str) -> tuple[tuple[str, str], ...]:
    """As the service's file declares it; secrets are never in there."""
    lines = _read(SERVICES / (service.split("--")[0] + ".env")).splitlines()
    return tuple((key, value) for key, _, value in (line.partition("=") for line in lines if "=" in line))


def _service(unit: str) -> str:
    return unit.split("@", 1)[-1].rsplit(".", 1)[0]
