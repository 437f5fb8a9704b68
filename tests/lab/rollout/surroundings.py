"""Faults of what is around a host that switches: its clock, and the gateway before it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from faults import fault
from support.fault_rows import Ground
from support.gateway_pair import holders
from support.lab_site import on_host

PAIRED = {"one gateway dies"}  # rows of two gateways that share an address
DAYS = 3 * 86400


@contextmanager
def clock_off(ground: Ground, seconds: int) -> Iterator[None]:
    """The clock that steelyard's own program on the host reads; hosts of the lab share their kernel's, so systemd keeps
    the right one.
    """
    path = "/usr/lib/python3/dist-packages/skew.pth"
    line = f"import time; time.time = lambda was=time.time: was() + {seconds}"
    on_host(ground.site, ground.host, f"echo '{line}' > {path}")
    try:
        seen = float(on_host(ground.site, ground.host, "python3 -I -c 'import time; print(time.time())'"))
        assert abs(seen - time.time() - seconds) < 60, "the clock is not off"
        yield
    finally:
        on_host(ground.site, ground.host, f"rm {path}")


@fault("host's clock three days ahead", {0}, {"next"})
def clock_ahead(ground: Ground, strategy: str) -> tuple[int, int]:
    with clock_off(ground, DAYS):
        return ground.roll("next", "--strategy", strategy).returncode, 0


@fault("host's clock three days behind", {0}, {"next"})
def clock_behind(ground: Ground, strategy: str) -> tuple[int, int]:
    with clock_off(ground, -DAYS):
        return ground.roll("next", "--strategy", strategy).returncode, 0


@fault("host's clock set back while it switches", {0}, {"next"})
def clock_set_back(ground: Ground, strategy: str) -> tuple[int, int]:
    """Between the trial and its confirmation, which are two programs."""
    run = ground.begun(strategy)
    with clock_off(ground, -DAYS):
        return run.wait(900), 0


@fault("one gateway dies", {0}, {"next"})
def gateway_dies(ground: Ground, strategy: str) -> tuple[int, int]:
    """The one that has the shared address, for good, while the host switches; what runs through it dies with it."""
    [first] = holders(ground.site)
    run = ground.begun(strategy)
    on_host(ground.site, first, "systemctl mask --runtime --quiet haproxy && systemctl kill -s KILL haproxy")
    code = run.wait(900)
    deadline = time.monotonic() + 30
    while first in holders(ground.site) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert first not in holders(ground.site), "the address stayed"
    time.sleep(2)  # so that the other one has answered
    on_host(ground.site, first, "systemctl unmask --runtime --quiet haproxy && systemctl start haproxy")
    return code, ground.clients
