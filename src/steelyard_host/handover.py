"""Processes of a unit handed to another one, and back: how an engine outlives the stop of its unit.

Systemd signals a unit's main process wherever it is, so a holder is the main one while others move: MAINPID says so, from a process
that is root's and in the unit's own group. The unit has to have NotifyAccess=all meanwhile. Tried on systemd 252 and 257.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from steelyard_host.store import StoreError

CGROUPS = Path("/sys/fs/cgroup")
NOTIFY = "/run/systemd/notify"
HOLDER = ("/usr/bin/python3", "-I", "/usr/lib/steelyard/steelyard-host.pyz", "unit-hold")
WAIT_S = 60


def main_of(unit: str) -> int:
    """Number of its main process; 0 where it has none."""
    return int(_shown(unit, "MainPID") or 0)


def processes(unit: str) -> set[int]:
    """All that are in its control group."""
    group = _group(unit)
    if group == CGROUPS:
        return set()
    return {int(pid) for path in group.rglob("cgroup.procs") for pid in path.read_text().split()}


def to_scope(unit: str, scope: str) -> None:
    """All processes of the unit go to a scope of their own, and a holder is left in it. Raises StoreError."""
    _named(unit, "me")
    pids = processes(unit) - {main_of(unit)}
    manager = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager")
    listed = (str(len(pids)), *map(str, sorted(pids)))
    run(
        "busctl",
        "--quiet",
        "call",
        *manager,
        "StartTransientUnit",
        "ssa(sv)a(sa(sv))",
        scope,
        "fail",
        "1",
        "PIDs",
        "au",
        *listed,
        "0",
    )
    until(lambda: pids <= processes(scope), "the processes of %s do not leave it" % unit)


def take(unit: str, pids: Iterable[int]) -> None:
    """These processes are the unit's, which runs. One that has ended is left out."""
    group = _group(unit) / "cgroup.procs"
    for pid in pids:
        try:
            group.write_text(str(pid))
        except ProcessLookupError:
            pass


def be_main(unit: str, pid: int) -> None:
    """One of its processes in place of whoever held it. Raises StoreError."""
    holder = main_of(unit)
    if holder == pid:
        return
    _named(unit, str(pid))
    if holder:  # 0 would be this process's own group
        os.kill(holder, signal.SIGKILL)


def _named(unit: str, pid: str) -> None:
    """`me`: a holder."""
    holder = subprocess.Popen([*HOLDER, str(_group(unit)), pid], start_new_session=True, stdin=subprocess.DEVNULL)
    wanted = holder.pid if pid == "me" else int(pid)
    until(lambda: main_of(unit) == wanted, "systemd does not take another main process for %s" % unit)


def hold(group: str, pid: str) -> int:
    """In the group of a unit, say which process is its main one; `me`: this one, until it is killed."""
    Path(group, "cgroup.procs").write_text(str(os.getpid()))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.connect(NOTIFY)
        notify.send(("MAINPID=%s\n" % (os.getpid() if pid == "me" else pid)).encode())
    # systemd looks the sender up when it reads the word
    time.sleep(1e6 if pid == "me" else 2)
    return 0


def _group(unit: str) -> Path:
    """Its control group; the root's where it has none."""
    return Path(str(CGROUPS) + _shown(unit, "ControlGroup"))


def _shown(unit: str, name: str) -> str:
    words = ["systemctl", "show", "--value", "--property=" + name, unit]
    return subprocess.run(words, stdout=subprocess.PIPE, text=True).stdout.strip()


def until(done: Callable[[], bool], why: str) -> None:
    """Raises StoreError with `why`."""
    end = time.monotonic() + WAIT_S
    while not done():
        if time.monotonic() > end:
            raise StoreError(why)
        time.sleep(0.02)


def run(*words: str) -> None:
    """Raises StoreError with what it said."""
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise StoreError("`%s`: %s" % (" ".join(words[:2]), done.stdout.strip()[-200:]))
