"""Processes of a unit handed to another one, and back: how an engine outlives the stop of its unit.

Systemd signals a unit's main process wherever it is, so a holder is the main one while others move: MAINPID says so,
from a process that is root's and in the unit's own group. The unit has to have NotifyAccess=all meanwhile. Tried on
systemd 252 and 257.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

from steelyard_host import paths
from steelyard_host.system import systemd, vanishing

CGROUPS = Path("/sys/fs/cgroup")
NOTIFY = "/run/systemd/notify"
HOLDER = (*paths.HELPER_ARGV, "unit-hold")
MANAGER = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager")
SIGNATURE = "ssa(sv)a(sa(sv))"  # of StartTransientUnit: name, mode, properties, units beside it


def processes(unit: str) -> set[int]:
    """All that are in the unit's control group."""
    group = _group(unit)
    if group == CGROUPS:
        return set()
    groups = [group, *(path for path in vanishing.below(group) if path.is_dir())]
    return {int(pid) for path in groups for pid in (vanishing.text(path / "cgroup.procs") or "").split()}


def to_scope(unit: str, scope: str) -> None:
    """All processes of the unit go to a scope of their own, and a holder is left in it. Raises HelperError."""
    _name_main(unit, "me")
    pids = processes(unit) - {systemd.main_pid(unit)}
    listed = ("PIDs", "au", str(len(pids)), *map(str, sorted(pids)))
    systemd.run(
        "busctl", "--quiet", "call", *MANAGER, "StartTransientUnit", SIGNATURE, scope, "fail", "1", *listed, "0"
    )
    systemd.until(lambda: pids <= processes(scope), "the processes of %s do not leave it" % unit)


def take(unit: str, pids: Iterable[int]) -> None:
    """These processes are the unit's, which runs. One that has ended is left out."""
    group = _group(unit) / "cgroup.procs"
    for pid in pids:
        try:
            group.write_text(str(pid))
        except ProcessLookupError:
            pass


def make_main(unit: str, pid: int) -> None:
    """One of the unit's processes is its main one in place of whoever held it. Raises HelperError."""
    holder = systemd.main_pid(unit)
    if holder == pid:
        return
    _name_main(unit, str(pid))
    if holder:  # 0 would be this process's own group
        os.kill(holder, signal.SIGKILL)


def _name_main(unit: str, pid: str) -> None:
    """Systemd takes process `pid` for the unit's main one; `me`: a holder."""
    holder = subprocess.Popen([*HOLDER, str(_group(unit)), pid], start_new_session=True, stdin=subprocess.DEVNULL)
    main = holder.pid if pid == "me" else int(pid)
    systemd.until(lambda: systemd.main_pid(unit) == main, "systemd does not take another main process for %s" % unit)


def hold(group: str, pid: str) -> int:
    """Tell systemd, from the group of a unit, which process is its main one; `me`: this one, until it is killed."""
    Path(group, "cgroup.procs").write_text(str(os.getpid()))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.connect(NOTIFY)
        notify.send(("MAINPID=%s\n" % (os.getpid() if pid == "me" else pid)).encode())
    # systemd looks the sender up when it reads the word
    time.sleep(1e6 if pid == "me" else 2)
    return 0


def _group(unit: str) -> Path:
    """The unit's control group; the root's where it has none."""
    return Path(str(CGROUPS) + systemd.show_one(unit, "ControlGroup"))
