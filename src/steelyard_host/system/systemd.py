"""Systemd, asked and told with its own programs: the one place of the helper that runs `systemctl`."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable

from steelyard_host.errors import HelperError

WAIT_S = 60
UNITS_S = {"ms": 0.001, "s": 1, "min": 60, "h": 3600, "d": 86400, "w": 604800}


def systemctl(*arguments: str, timeout: float | None = None) -> bool:
    """Whether `systemctl ARGUMENTS` did it; what it says goes nowhere. Raises TimeoutExpired after `timeout` s."""
    silent = subprocess.DEVNULL
    return subprocess.run(["systemctl", *arguments], stdout=silent, stderr=silent, timeout=timeout).returncode == 0


def failure(*argv: str) -> str | None:
    """The last lines that a command said where it failed; None where it did what it should."""
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.stdout.strip()[-200:] if done.returncode != 0 else None


def run(*argv: str) -> None:
    """Runs a command (`systemctl`, `systemd-run`, `busctl`). Raises HelperError with what it said where it fails."""
    reason = failure(*argv)
    if reason is not None:
        raise HelperError("`%s`: %s" % (" ".join(argv[:2]), reason))


def is_active(unit: str) -> bool:
    """Whether the unit runs; one that still starts does not."""
    return systemctl("is-active", "--quiet", unit)


def has_ended(unit: str) -> bool:
    """Whether nothing of the unit runs any more, what it does after its end included."""
    return show_one(unit, "ActiveState") in ("inactive", "failed")


def daemon_reload() -> None:
    """Systemd reads all units anew. Raises HelperError."""
    run("systemctl", "daemon-reload")


def start(unit: str) -> None:
    """Starts the unit and waits until it runs. Raises HelperError."""
    run("systemctl", "start", unit)


def stop(unit: str) -> bool:
    """Stops the unit and waits until it has; False where there is none, or it could not be."""
    return systemctl("stop", unit)


def reset_failed(*units: str) -> bool:
    """Forgets that units failed, and how often they were started; False where one did not."""
    return systemctl("reset-failed", *units)


def kill(unit: str) -> bool:
    """Sends SIGKILL to every process of the unit: one that hangs would not end by itself."""
    return systemctl("kill", "--kill-who=all", "--signal=KILL", unit)


def show(unit: str, *names: str) -> dict[str, str]:
    """Properties of a unit by name, as text; empty where systemd does not answer.

    >>> show("ssh.service", "ActiveState", "MainPID")
    {'ActiveState': 'active', 'MainPID': '612'}
    """
    argv = ["systemctl", "show", unit, "--property=" + ",".join(names)]
    universal = {**os.environ, "TZ": "UTC"}  # it writes times as the caller's zone has them
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=universal)
    return dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)


def show_one(unit: str, name: str) -> str:
    """One property of a unit; empty where it has none."""
    return show(unit, name).get(name, "")


def main_pid(unit: str) -> int:
    """Number of the unit's main process; 0 where it has none."""
    return int(show_one(unit, "MainPID") or 0)


def escape_path(path: str) -> str:
    """The instance of a template unit for a path; `%f` in the unit gives the path back."""
    done = subprocess.run(["systemd-escape", "--path", path], stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.strip()


def until(done: Callable[[], bool], reason: str, seconds: float = WAIT_S) -> None:
    """Waits until `done` says so. Raises HelperError with `reason` after `seconds`."""
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            raise HelperError(reason)
        time.sleep(0.02)


def timespan_s(text: str) -> float | None:
    """Seconds of systemd's `2min 5s`; None where it is no time: `infinity`."""
    parts = re.findall(r"([\d.]+)(ms|min|s|h|d|w)", text)
    return sum(float(number) * UNITS_S[unit] for number, unit in parts) if parts else None
