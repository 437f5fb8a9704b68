"""A rolling restart of two replicas by an apply, under load, on a lab of its own: how much longer it takes than their
two starts, and whether somebody was failed.

Engines get a start of `START_S` seconds, as those have that serve models: what an apply does between two starts would
else weigh as much as a start of a second. Times are those of systemd, whose hosts share one clock here.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

START_S = 20
NAME = "bench-restarts"
UNIT = "steelyard-llamacpp@pair.service"
HOSTS = ("gpu-1", "gpu-2")
os.environ["STEELYARD_HANDS_LAB"] = NAME

from support import hands_site  # noqa: E402
from support.lab_site import steelyard  # noqa: E402


def moments(site: hands_site.HandsSite, host: str) -> dict[str, float]:
    """When the unit last left service, began to start, and was back: seconds of the clock that all hosts share."""
    names = ("ActiveExit", "InactiveExit", "ActiveEnter")
    asked = " ".join(f"--property={name}TimestampMonotonic" for name in names)
    lines = site.sh(host, f"systemctl show {UNIT} {asked}").splitlines()
    return {
        name.removesuffix("TimestampMonotonic"): int(value) / 1e6 for name, value in (row.split("=") for row in lines)
    }


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        try:
            site = hands_site.boot(Path(folder))
            for host in HOSTS:
                path = f"/etc/systemd/system/{UNIT}.d/90-slow.conf"
                slow = f"printf '[Service]\\nExecStartPre=/bin/sleep {START_S}\\n' > {path}; systemctl daemon-reload"
                site.sh(host, slow)
            site.serve("pair", "gpu-1:gpu-2", 8010, options={"n_threads": 1, "n_batch": 256})
            with site.load("pair") as load:
                site.apply()
            at = [moments(site, host) for host in HOSTS]
        finally:
            steelyard("lab", "down", "--name", NAME)
    starts = sum(host["ActiveEnter"] - host["InactiveExit"] for host in at)
    whole = max(host["ActiveEnter"] for host in at) - min(host["ActiveExit"] for host in at)
    figures = {
        "rolling_restart_of_starts": round(whole / starts, 3),
        "whole_s": round(whole, 2),
        "starts_s": round(starts, 2),
        "requests": load.counts.requests,
        "failed_requests": load.counts.failed,
        "slowest_s": round(load.counts.slowest_s, 2),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
