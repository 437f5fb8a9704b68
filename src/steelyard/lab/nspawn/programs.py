"""Runs the programs a lab is made with; one place that turns their failure into a sentence."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path

from steelyard.errors import KernelFeatureMissing, LabNeedsLinux, LabNeedsRoot, LabStepFailed, LocalProgramMissing

NEEDED = {
    "systemd-nspawn": "systemd-container",
    "mmdebstrap": "mmdebstrap",
    "ip": "iproute2",
    "iptables": "iptables",
    "ssh-keygen": "openssh-client",
    "cc": "gcc",
    "gpg": "gnupg",
}


def run(*command: str | Path, check: bool = True, text: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run to the end; raises LabStepFailed with the last words on stderr unless `check` is off."""
    argv = [str(word) for word in command]
    done = subprocess.run(argv, capture_output=True, text=True, input=text)
    if check and done.returncode != 0:
        why = " / ".join((done.stderr or done.stdout).strip().splitlines()[-3:]) or f"exit {done.returncode}"
        raise LabStepFailed(where="lab", command=" ".join(argv[:4]), why=why)
    return done


def require_machine(where: str) -> None:
    """Linux, root, the programs, overlayfs, bridges and namespaces: or one sentence that says which is missing."""
    if platform.system() != "Linux":
        raise LabNeedsLinux(where=where, system=platform.system())
    if os.geteuid() != 0:
        raise LabNeedsRoot(where=where, uid=str(os.geteuid()))
    for program, package in NEEDED.items():
        if shutil.which(program) is None:
            raise LocalProgramMissing(where=where, program=program, package=package)
    if "overlay" not in Path("/proc/filesystems").read_text():
        loaded = run("modprobe", "overlay", check=False)
        if loaded.returncode != 0:
            raise KernelFeatureMissing(where=where, feature="overlayfs", why=loaded.stderr.strip() or "no such module")
    probe = "sylabprobe"
    made = run("ip", "link", "add", probe, "type", "bridge", check=False)
    if made.returncode != 0:
        raise KernelFeatureMissing(where=where, feature="network bridges", why=made.stderr.strip())
    run("ip", "link", "del", probe, check=False)
    made = run("ip", "netns", "add", probe, check=False)
    if made.returncode != 0:
        raise KernelFeatureMissing(where=where, feature="network namespaces", why=made.stderr.strip())
    run("ip", "netns", "del", probe, check=False)
    if cgroup_roots() == []:
        raise KernelFeatureMissing(where=where, feature="cgroup v2", why="no cgroup2 file system is mounted")


def cgroup_roots() -> list[Path]:
    """The cgroup trees a host must have a folder in: the v2 one, and systemd's v1 one on hybrid machines."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    unified = [Path(fields[1]) for fields in mounts if fields[2] == "cgroup2"][:1]
    named = [Path(fields[1]) for fields in mounts if fields[2] == "cgroup" and "name=systemd" in fields[3]][:1]
    return unified + named if unified else []
