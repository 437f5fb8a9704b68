"""Services that start with their first request: put to rest when nobody asks, room made for one that is asked, kept up for a switch.

systemd does the rest: a socket that starts a proxy, which needs the engine; the proxy ends when it is idle, and the engine, which
nothing needs any more, with it. A request that finds it asleep waits in the socket until the engine has given its first token.
"""

from __future__ import annotations

import fcntl
import math
import subprocess
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from steelyard_host import engines, front, gpu, haproxy, starts

CLAIMS = Path("/run/steelyard-room")  # of services that were let in; a reboot clears it
WHOLE = 1.0 + 1e-9  # shares of a GPU are decimal numbers
LOOK_S = 0.5
QUIET_S = 5  # without a request, or of a turn at least


@dataclass(frozen=True)
class Claim:
    """What a service takes of the host while it runs: bytes of memory, and a share of each of its GPUs."""

    memory: int = 0
    share: float = 0.0
    gpus: tuple[str, ...] = ()


def shortage(wanted: Claim, running: Mapping[str, Claim], budget: int) -> tuple[str, frozenset[str]] | None:
    """Why there is no room for `wanted`, and which services would have to go for it; None where there is. Pure."""
    taken = sum(claim.memory for claim in running.values())
    if budget and wanted.memory and taken + wanted.memory > budget:
        gib = (wanted.memory / 2**30, (budget - taken) / 2**30, budget / 2**30)
        users = frozenset(name for name, claim in running.items() if claim.memory)
        return "it needs %.1f GiB of memory, and %.1f of the budget's %.1f are left" % gib, users
    for uuid in wanted.gpus:
        mates = {name: claim for name, claim in running.items() if uuid in claim.gpus}
        left = 1 - sum(claim.share for claim in mates.values())
        if wanted.share > left + WHOLE - 1:
            return "it needs %.2g of %s, and %.2g are left" % (wanted.share, uuid, left), frozenset(mates)
    return None


def claim_of(service: str, held: Mapping[str, Collection[str]]) -> Claim:
    """By the service's environment file and its GPU drop-in."""
    said = engines.declared(service)
    return Claim(int(said.get("MEMORY", 0)), float(said.get("SHARE", 0)), tuple(held.get(service, ())))


def make_room(service: str, drain_s: float, seconds: float) -> int:
    """ExecStartPre of a lazy service: others rest until it has room, the longest unused first. 1 and a sentence where it gets none.

    One at a time: two that start together would each count on what the other takes.
    """
    end = time.monotonic() + seconds
    (CLAIMS / service).unlink(missing_ok=True)  # of its last time: whoever has the turn must not wait for it
    with _turn():
        while True:
            states = {name: state(name) for name in engines.services() if name != service}
            held, budget = gpu.held(), int(engines.declared(service).get("BUDGET", 0))
            running = {name: claim_of(name, held) for name, now in states.items() if _takes(name, now)}
            short = shortage(claim_of(service, held), running, budget)
            if short is None:
                (CLAIMS / service).touch()
                return 0
            why, users = short
            resting = [name for name in users if states[name] == "active" and engines.lazy(name)]
            if (not resting and not any(states[name] != "active" for name in users)) or time.monotonic() > end:
                print("%s has no room: %s; in use by %s" % (service, why, ", ".join(sorted(users)) or "nobody"), flush=True)
                return 1
            tried = next((name for name in _may_rest(resting) if rest(name, drain_s)), None)
            if tried is None:
                time.sleep(LOOK_S)
            else:
                print("%s rests, because %s is asked and %s" % (tried, service, why), flush=True)


@contextmanager
def _turn() -> Iterator[None]:
    CLAIMS.mkdir(mode=0o755, parents=True, exist_ok=True)
    with (CLAIMS / ".turn").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def state(service: str) -> str:
    """Of its engine: active, inactive, activating, ..."""
    return _active_state(engines.unit(service))


def _active_state(unit: str) -> str:
    words = ["systemctl", "show", "--value", "--property=ActiveState", unit]
    return subprocess.run(words, stdout=subprocess.PIPE, text=True).stdout.strip()


def _takes(name: str, now: str) -> bool:
    """A lazy one that still waits for its turn takes nothing yet."""
    if now in ("inactive", "failed"):
        (CLAIMS / name).unlink(missing_ok=True)
        return False
    return not engines.lazy(name) or now == "active" or (CLAIMS / name).exists()


def _may_rest(names: Collection[str]) -> list[str]:
    """Those that nobody asks just now, or that have served as long as their start took, and a few seconds; the longest unused first."""
    unused = _unused_s(names)
    kept = [name for name in names if unused[name] >= QUIET_S or _served_s(name) >= max(QUIET_S, _start_s(name))]
    return sorted(kept, key=lambda name: (-unused[name], name))


def _unused_s(names: Collection[str]) -> dict[str, float]:
    """By the front, which knows when each last got a request."""
    try:
        rows = haproxy.stat(front.SOCKET)
    except OSError:
        rows = {}
    found = {name: float(rows.get("engine-%s/%s" % (name, name), {}).get("lastsess") or -1) for name in names}
    return {name: seconds if seconds >= 0 else math.inf for name, seconds in found.items()}


def _start_s(name: str) -> float:
    """Seconds that its last start took."""
    known = starts.read(name)
    return float(known[-1]["seconds"]) if known else 0.0


def _served_s(name: str) -> float:
    try:
        return time.time() - (CLAIMS / name).stat().st_mtime - _start_s(name)
    except OSError:
        return math.inf


def rest(service: str, drain_s: float) -> bool:
    """Stop a service so that its next request starts it again; requests that run finish, new ones wait. False: it does not come to rest.

    One that systemd has given up may be tried anew.
    """
    if state(service) in ("inactive", "failed"):
        _forgive(service)
        return True
    front.out(service, mark=True)
    try:
        if front.drained(service, drain_s) is None:
            return False
        # the proxy first, as the order of units is: it has no requests left
        return subprocess.run(["systemctl", "stop", engines.unit(service)], stderr=subprocess.DEVNULL).returncode == 0
    finally:
        front.back(service)


def try_again(service: str) -> None:
    """One whose start failed, and whose port is closed since: the next request, or one that the gateway holds, starts it anew."""
    if "failed" in (state(service), _active_state(_socket(service))) and not (front.MARKS / service).exists():
        _forgive(service)


def _forgive(service: str) -> None:
    units = [engines.unit(service), _socket(service), "steelyard-lazy@%s.service" % service]
    subprocess.run(["systemctl", "reset-failed", *units], stderr=subprocess.DEVNULL)
    subprocess.run(["systemctl", "start", _socket(service)], stderr=subprocess.DEVNULL)
    front.back(service)


def _socket(service: str) -> str:
    return "steelyard-lazy@%s.socket" % service


def keep_up(service: str, seconds: float) -> None:
    """Nothing may stop it for being unneeded, and it is started where it is not up, until `let_go`. It may not have come up."""
    words = ["systemd-run", "--quiet", "--collect", "--unit=" + _awake(service), "--property=Wants=" + engines.unit(service)]
    words += ["--property=After=" + engines.unit(service), "sleep", "infinity"]
    let_go(service)
    try:
        subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=seconds)
    except subprocess.TimeoutExpired:
        pass  # whoever asked looks whether it is up


def let_go(service: str) -> None:
    """It may rest again."""
    subprocess.run(["systemctl", "stop", _awake(service) + ".service"], stderr=subprocess.DEVNULL)


def _awake(service: str) -> str:
    return "steelyard-awake-" + service
