"""The dead man's timer of a trial: unless somebody stops it in time, systemd goes back to the version of before."""

from __future__ import annotations

import time

from steelyard_host import paths
from steelyard_host.system import systemd

KILLED_GOES_ON = "--property=Restart=on-abnormal"  # it begins again where it was killed; one that failed has said why


def start(service: str, seconds: float) -> None:
    """The trial of `service` is undone in so many seconds, by a clock that nobody sets. Raises HelperError."""
    stop(service)
    systemd.run(
        "systemd-run",
        "--quiet",
        "--collect",
        "--unit=steelyard-undo-%s" % service,
        "--on-active=%d" % seconds,
        "--timer-property=AccuracySec=100ms",
        KILLED_GOES_ON,
        *paths.HELPER_ARGV,
        "switch-undo",
        service,
    )


def stop(service: str) -> None:
    """Stops the timer, not the undo itself where it runs already: that one calls this."""
    systemd.stop("steelyard-undo-%s.timer" % service)


def left_s(service: str) -> float | None:
    """Seconds until the trial of `service` is undone; None where no timer runs."""
    at = systemd.timespan_s(systemd.show_one("steelyard-undo-%s.timer" % service, "NextElapseUSecMonotonic"))
    return round(max(0.0, at - time.monotonic()), 1) if at else None
