"""Whether a service still works: a token asked every few seconds, and its engine killed where neither that nor anybody's comes.

A timer starts it; nothing of it stays running. An engine that ends is systemd's (`Restart=always`, exit 0 too); this one is for those
that live, answer 200 on /health, and generate nothing any more. An engine that only is busy moves its own counters.
"""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from steelyard_host import control, engines, front, kills, lazy, ready, status, trial

LOOKS = Path("/run/steelyard-watch")  # what was seen last
PROBE_S = 20


@dataclass(frozen=True)
class Look:
    """One look at a service. `busy_with`: why it must be left alone; `moved`: sum of counters that only grow while it works."""

    pid: str
    gives: bool
    why: str
    moved: float
    dead: bool = False
    busy_with: str | None = None


@dataclass(frozen=True)
class Kept:
    """Of the looks before: the engine's process, its counters, and when it last did anything."""

    pid: str = ""
    moved: float = -1.0
    at: float = 0.0


@dataclass(frozen=True)
class Verdict:
    """`kill`: why its engine is to be killed; None: it is well, or not yet known to be otherwise."""

    kept: Kept
    kill: str | None = field(default=None)


def verdict(look: Look, kept: Kept, now: float, hung_s: float) -> Verdict:
    """What a look means after the one before. Pure; `now` and `kept.at` in seconds of a clock that nobody sets."""
    fresh = Kept(look.pid, look.moved, now)
    if look.busy_with is not None or look.pid == "0" or look.pid != kept.pid:
        return Verdict(fresh)
    if look.dead:
        return Verdict(fresh, "its engine is dead and its server goes on: %s" % look.why)
    if look.gives or look.moved > kept.moved:
        return Verdict(fresh)
    idle = now - kept.at
    if idle < hung_s:
        return Verdict(kept)
    return Verdict(fresh, "no token for %d s, ours or anybody's: %s" % (idle, look.why))


def run(service: str, hung_s: float) -> int:
    """One look, and what follows from it; it speaks only where it did something. Always 0."""
    if engines.lazy(service):
        lazy.try_again(service)
    path = LOOKS / (service + ".json")
    found = verdict(_look(service), _read(path), time.monotonic(), hung_s)
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    path.write_text(json.dumps([found.kept.pid, found.kept.moved, found.kept.at]))
    if found.kill is None:
        return 0
    front.out(service)  # gateways go elsewhere, or wait
    kills.note(service, found.kill)
    print("%s is killed, and started anew: %s" % (service, found.kill), flush=True)
    subprocess.run(["systemctl", "kill", "--kill-who=all", "--signal=KILL", engines.unit(service)])
    return 0


def _look(service: str) -> Look:
    shown = status.unit_properties(engines.unit(service))
    pid = shown.get("MainPID", "0")
    if shown.get("ActiveState") != "active":  # starting has its own limit, and the port is closed
        return Look("0", False, "it is %s" % shown.get("ActiveState"), 0)
    record = trial.record(service)
    if record is not None and record["state"] in ("trying", "undoing"):
        return Look(pid, False, "", 0, busy_with="a switch")
    gives, why = ready.one_token(control.socket_of(service), service, PROBE_S)
    dead = not gives and control.health(service) in (500, 503)
    return Look(pid, gives, why, status.moved(service), dead)


def _read(path: Path) -> Kept:
    try:
        pid, moved, at = json.loads(path.read_text())
        return Kept(str(pid), float(moved), float(at))
    except (OSError, ValueError, TypeError):
        return Kept()
