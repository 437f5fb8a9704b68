"""A restart for which nobody waits: a second engine, started from the service's files as they lie now, has its requests
while its own is started anew.

The second engine is the trial of those files: where it gives no token, the service's own has not been touched.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from steelyard_host.causes import evidence
from steelyard_host.engine.service import HostService
from steelyard_host.errors import HelperError
from steelyard_host.proxy import front
from steelyard_host.rollout import strategies, surge
from steelyard_host.system import systemd


def restart(service: HostService, folder: str, ready_s: int, drain_s: float) -> int:
    """0 where the service's own engine serves again, and the second one is gone. 1, with the cause, where one does not
    start; where that is the service's own, the second serves on until it does.
    """
    second = service.second
    if front.routed(service) != second or not systemd.is_active(second.unit):
        try:
            surge.start(service, folder, ready_s)
        except HelperError as error:
            return _died(error, second)
        _shift(service, second, service, drain_s)
    try:
        strategies.restart(service, ready_s, drain_s)
    except (HelperError, subprocess.SubprocessError) as error:
        _mark(service).touch()
        return _died(error, service)
    end(service, drain_s)
    return 0


def end(service: HostService, drain_s: float) -> None:
    """The service's own engine, which is ready, has its requests; the second one ends when it works on nothing."""
    _shift(service, service, service.second, drain_s)
    surge.stop(service)
    _mark(service).unlink(missing_ok=True)


def end_left(service: HostService, drain_s: float) -> None:
    """The same where a second engine was left to serve because the service's own did not start; else nothing."""
    if _mark(service).exists():
        end(service, drain_s)


def _mark(service: HostService) -> Path:
    return surge.CONFIGS / (service.name + ".left")


def _shift(service: HostService, engine: HostService, left: HostService, drain_s: float) -> None:
    """Requests go to `engine`; who is still at work on the other after `drain_s` loses his answer, as at any stop."""
    front.route(service, engine, left)
    front.drained(left, drain_s)


def _died(error: Exception, engine: HostService) -> int:
    print(error, file=sys.stderr)
    if isinstance(error, evidence.EngineDied):
        evidence.show(engine.unit)
    return 1
