"""Services that start with their first request: stopped when nobody asks, room made for one that is asked, kept up for
a switch.

systemd does the rest: a socket that starts a proxy, which needs the engine; the proxy ends when it is idle, and the
engine, which nothing needs any more, with it. A request that finds it stopped waits in the socket until the engine has
given its first token.
"""

from __future__ import annotations

import fcntl
import math
import subprocess
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from steelyard_host import paths
from steelyard_host.engine import start_log
from steelyard_host.engine.service import HostService, services
from steelyard_host.hardware import gpu
from steelyard_host.proxy import front, haproxy
from steelyard_host.system import systemd
from steelyard_host.wire.services import ServiceState

CLAIMS = Path(paths.CLAIMS)  # of services that were let in; a reboot clears it
WHOLE = 1.0 + 1e-9  # shares of a GPU are decimal numbers
POLL_S = 0.5
QUIET_S = 5  # without a request, or of a turn at least


class ResourceClaim(NamedTuple):
    """A service's share of the host while it runs: bytes of memory, and a share of each of its GPUs."""

    memory: int = 0
    share: float = 0.0
    gpus: tuple[str, ...] = ()


def shortage(
    claim: ResourceClaim, running: Mapping[str, ResourceClaim], budget: int
) -> tuple[str, frozenset[str]] | None:
    """Return why there is no room for `claim`, and which services would have to go; None where there is. Pure."""
    taken = sum(other.memory for other in running.values())
    if budget and claim.memory and taken + claim.memory > budget:
        gib = (claim.memory / 2**30, (budget - taken) / 2**30, budget / 2**30)
        users = frozenset(name for name, other in running.items() if other.memory)
        return "it needs %.1f GiB of memory, and %.1f of the budget's %.1f are left" % gib, users
    for uuid in claim.gpus:
        mates = {name: other for name, other in running.items() if uuid in other.gpus}
        left = 1 - sum(other.share for other in mates.values())
        if claim.share > left + WHOLE - 1:
            return "it needs %.2g of %s, and %.2g are left" % (claim.share, uuid, left), frozenset(mates)
    return None


def claim_of(service: HostService, held: Mapping[str, Collection[str]]) -> ResourceClaim:
    """Return what the service's environment file and its GPU drop-in claim. `held`: GPUs by service."""
    declared = service.declared
    return ResourceClaim(
        int(declared.get("MEMORY", 0)), float(declared.get("SHARE", 0)), tuple(held.get(service.name, ()))
    )


def make_room(service: HostService, drain_s: float, seconds: float) -> int:
    """ExecStartPre of a lazy service: others are stopped until it has room, the longest unused first. 1 and a sentence
    where it gets none.

    One at a time: two that start together would each count on what the other takes.
    """
    end = time.monotonic() + seconds
    claim_file = CLAIMS / service.name
    claim_file.unlink(missing_ok=True)  # of its last time: whoever has the turn must not wait for it
    with _turn():
        while True:
            others = {other.name: other for other in services() if other.name != service.name}
            states = {name: state(other) for name, other in others.items()}
            held, budget = gpu.held(), int(service.declared.get("BUDGET", 0))
            running = {name: claim_of(other, held) for name, other in others.items() if _takes(other, states[name])}
            short = shortage(claim_of(service, held), running, budget)
            if short is None:
                claim_file.touch()
                return 0
            reason, users = short
            stoppable = [others[name] for name in users if states[name] is ServiceState.ACTIVE and others[name].is_lazy]
            may_change = any(states[name] is not ServiceState.ACTIVE for name in users)
            if (not stoppable and not may_change) or time.monotonic() > end:
                using = ", ".join(sorted(users)) or "nobody"
                print("%s has no room: %s; in use by %s" % (service.name, reason, using), flush=True)
                return 1
            stopped = next((other for other in _by_disuse(stoppable) if idle_stop(other, drain_s)), None)
            if stopped is None:
                time.sleep(POLL_S)
            else:
                print("%s rests, because %s is asked and %s" % (stopped.name, service.name, reason), flush=True)


@contextmanager
def _turn() -> Iterator[None]:
    CLAIMS.mkdir(mode=0o755, parents=True, exist_ok=True)
    with (CLAIMS / ".turn").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def state(service: HostService) -> ServiceState:
    """The state of its engine's unit."""
    return ServiceState.of(systemd.show_one(service.unit, "ActiveState"))


def _takes(service: HostService, current: ServiceState) -> bool:
    """Whether it takes what it claims: a lazy one that still waits for its turn takes nothing yet."""
    claim_file = CLAIMS / service.name
    if current.is_down:
        claim_file.unlink(missing_ok=True)
        return False
    return not service.is_lazy or current is ServiceState.ACTIVE or claim_file.exists()


def _by_disuse(candidates: Collection[HostService]) -> list[HostService]:
    """Those that nobody asks just now, or that have served as long as their start took, and a few seconds; the longest
    unused first.
    """
    unused = _unused_s(candidates)
    free = [
        service
        for service in candidates
        if unused[service.name] >= QUIET_S or _served_s(service) >= max(QUIET_S, _start_s(service))
    ]
    return sorted(free, key=lambda service: (-unused[service.name], service.name))


def _unused_s(candidates: Collection[HostService]) -> dict[str, float]:
    """Seconds by service, from the local proxy, which knows when each last got a request."""
    try:
        rows = haproxy.stat(front.SOCKET)
    except OSError:
        rows = {}
    names = [service.name for service in candidates]
    ages = {name: float(rows.get("engine-%s/%s" % (name, name), {}).get("lastsess") or -1) for name in names}
    return {name: seconds if seconds >= 0 else math.inf for name, seconds in ages.items()}


def _start_s(service: HostService) -> float:
    """Seconds that its last start took."""
    start = start_log.last(service.name)
    return start.seconds if start is not None else 0.0


def _served_s(service: HostService) -> float:
    try:
        return time.time() - (CLAIMS / service.name).stat().st_mtime - _start_s(service)
    except OSError:
        return math.inf


def idle_stop(service: HostService, drain_s: float) -> bool:
    """Stops a service so that its next request starts it again; requests that run finish, new ones wait. False: it does
    not come to rest.

    One that systemd has given up may be tried anew.
    """
    if state(service).is_down:
        _forgive(service)
        return True
    front.out(service, mark=True)
    try:
        if front.drained(service, drain_s) is None:
            return False
        # the proxy first, as the order of units is: it has no requests left
        return systemd.stop(service.unit)
    finally:
        front.back(service)


def try_again(service: HostService) -> None:
    """A service whose start failed, and whose port is closed since, is started anew by the next request, or by one that
    the gateway holds.
    """
    socket_state = systemd.show_one(_socket_unit(service), "ActiveState")
    has_failed = state(service) is ServiceState.FAILED or socket_state == "failed"
    if has_failed and not front.is_marked(service):
        _forgive(service)


def _forgive(service: HostService) -> None:
    systemd.reset_failed(service.unit, _socket_unit(service), "steelyard-lazy@%s.service" % service.name)
    systemd.systemctl("start", _socket_unit(service))
    front.back(service)


def _socket_unit(service: HostService) -> str:
    return "steelyard-lazy@%s.socket" % service.name


def keep_up(service: HostService, seconds: float) -> None:
    """Keep the service up although nobody asks, and start it where it is not up, until `release`. It may not have come
    up.
    """
    argv = ["systemd-run", "--quiet", "--collect", "--unit=" + _keeper_unit(service)]
    argv += ["--property=Wants=" + service.unit, "--property=After=" + service.unit, "sleep", "infinity"]
    release(service)
    try:
        subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=seconds)
    except subprocess.TimeoutExpired:
        pass  # whoever asked looks whether it is up


def release(service: HostService) -> None:
    """The service may be stopped again when nobody asks."""
    systemd.stop(_keeper_unit(service) + ".service")


def _keeper_unit(service: HostService) -> str:
    return "steelyard-awake-" + service.name
