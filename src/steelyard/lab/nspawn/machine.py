"""One lab host: its overlay, its identity, its systemd-nspawn and the small supervisor that lets it reboot.

Needed and found by trying (docs/design/lab.md): an own cgroup per host with --keep-unit, v2 inside a hybrid
machine, the address set before boot in a named namespace, exit 133 meaning "the guest asked for a reboot".
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from steelyard.errors import LabHostDown

from .network import LabNetwork, nameservers
from .paths import LabPaths, base_folder, cache_root, has_layer, layer_folder
from .programs import cgroup_roots, run
from .spec import LabHost

# On cgroup v2 a group that passes controllers on holds no processes itself: the supervisor and nspawn get one each.
KEEPER, BOX = "keeper", "box"
SUPERVISOR = """\
for c in {cgroups}; do echo $$ > $c/keeper/cgroup.procs; done
trap 'kill -TERM $p 2>/dev/null' TERM
while :; do
  (for c in {cgroups}; do echo $BASHPID > $c/box/cgroup.procs; done; exec "$@" </dev/null) & p=$!
  wait $p; rc=$?
  while kill -0 $p 2>/dev/null; do wait $p; rc=$?; done
  [ $rc = 133 ] || exit $rc
done
"""


@dataclass(frozen=True)
class Machine:
    """A host of a lab with its number (address, interface) and its lab's network."""

    lab: LabPaths
    net: LabNetwork
    host: LabHost
    number: int

    @property
    def folder(self) -> Path:
        return self.lab.host(self.host.name)

    @property
    def root(self) -> Path:
        return self.folder / "root"

    @property
    def address(self) -> str:
        return self.net.address(self.number)

    @property
    def cgroups(self) -> list[Path]:
        return [root / "steelyard-lab" / self.net.bridge / self.host.name for root in cgroup_roots()]

    @property
    def lacks_layer(self) -> bool:
        """True where it names a layer that nobody saved yet."""
        return self.host.layer is not None and not has_layer(self.host.layer)

    def lower_folders(self) -> list[Path]:
        """Shared read-only layers, uppermost first."""
        layer = self.host.layer
        saved = [layer_folder(layer).resolve()] if layer and has_layer(layer) else []
        return [*saved, base_folder(self.host.release)]


def mount_overlay(machine: Machine) -> None:
    for part in ("upper", "work", "root"):
        (machine.folder / part).mkdir(parents=True, exist_ok=True)
    lower = ":".join(str(folder) for folder in machine.lower_folders())
    options = f"lowerdir={lower},upperdir={machine.folder}/upper,workdir={machine.folder}/work"
    run("mount", "-t", "overlay", "overlay", "-o", options, machine.root)


def mounted_lowers() -> dict[str, list[Path]]:
    """The lower folders of every overlay on this machine by where it is mounted, uppermost first."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    options = {
        at: dict(option.partition("=")[::2] for option in lowers.split(","))
        for _, at, kind, lowers, *_ in mounts
        if kind == "overlay"
    }
    return {at: [Path(lower) for lower in lowers.get("lowerdir", "").split(":")] for at, lowers in options.items()}


def place(root: Path, path: str, text: str, mode: int = 0o644) -> None:
    """Write a file of the host's root, over a link too."""
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_symlink():
        target.unlink()
    target.write_text(text)
    target.chmod(mode)


def place_enabled_unit(root: Path, unit: str, text: str, target: str) -> None:
    """Write a unit into a host's root, and enable it for a target as `systemctl enable` does."""
    place(root, f"etc/systemd/system/{unit}", text)
    link = root / f"etc/systemd/system/{target}.wants/{unit}"
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.is_symlink():
        link.symlink_to(f"/etc/systemd/system/{unit}")


def write_identity(machine: Machine, names: dict[str, str]) -> str:
    """Name, addresses of the lab, machine id, host key, login key. Returns the known_hosts line."""
    root, name = machine.root, machine.host.name
    place(root, "etc/hostname", name + "\n")
    known = "".join(f"{address} {other}\n" for other, address in names.items())
    place(root, "etc/hosts", f"127.0.0.1 localhost\n{known}")
    place(root, "etc/machine-id", os.urandom(16).hex() + "\n")
    place(root, "etc/resolv.conf", nameservers() if machine.host.routed else "# no route out\n")
    key = root / "etc/ssh/ssh_host_ed25519_key"
    for old in (key, key.with_suffix(".pub")):
        old.unlink(missing_ok=True)
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", key)
    login = machine.lab.key.with_suffix(".pub").read_text()
    place(root, "home/ops/.ssh/authorized_keys", login, 0o600)
    run("chroot", root, "chown", "-R", "ops:ops", "/home/ops/.ssh")
    (root / "home/ops/.ssh").chmod(0o700)
    kind, public, _ = key.with_suffix(".pub").read_text().split()
    return f"{machine.address} {kind} {public}\n{name} {kind} {public}\n"


def nspawn_command(machine: Machine) -> list[str]:
    """The argv that boots the host; CAP_IPC_LOCK is for memory that is locked, the rest of the capabilities for
    Docker.
    """
    host = machine.host
    command = [
        "systemd-nspawn",
        "--quiet",
        "--boot",
        f"--directory={machine.root}",
        f"--machine={host.name}",
        "--register=no",
        "--keep-unit",
        f"--network-namespace-path=/run/netns/{machine.net.namespace(host.name)}",
        "--resolv-conf=off",
        "--timezone=off",
        "--link-journal=no",
        "--kill-signal=SIGRTMIN+3",
    ]
    for inside, cached in sorted(host.binds.items()):
        command.append(f"--bind={cache_root() / cached}:{inside}")
    if not host.docker:
        return [*command, "--capability=CAP_NET_ADMIN,CAP_IPC_LOCK"]
    command += [
        "--capability=CAP_NET_ADMIN,CAP_IPC_LOCK,CAP_BPF,CAP_PERFMON,CAP_SYSLOG",
        "--system-call-filter=add_key keyctl bpf",
    ]
    # overlay on overlay is not possible: Docker's own layers need a real file system
    command += [
        f"--bind={machine.folder}/docker:/var/lib/docker",
        f"--bind={machine.folder}/containerd:/var/lib/containerd",
    ]
    return [*command, *(f"--bind={device}" for device in ("/dev/fuse",) if Path(device).exists())]


def pass_controllers(root: Path, cgroup: Path) -> None:
    """Let the host have the controllers that the machine passes on, so that limits of its units hold as on a real one.

    Nothing is asked of the root itself: where controllers sit on cgroup v1, a host goes without.
    """
    for folder in reversed(
        [cgroup, *(parent for parent in cgroup.parents if parent.is_relative_to(root) and parent != root)]
    ):
        try:
            names = (folder / "cgroup.controllers").read_text().split()
        except FileNotFoundError:  # systemd's own tree of cgroup v1 has none
            return
        for name in names:
            with suppress(OSError):  # one that is in use elsewhere is no reason not to boot
                (folder / "cgroup.subtree_control").write_text(f"+{name}")


def boot(machine: Machine) -> None:
    """Start the supervisor in the host's own cgroup; it outlives this process."""
    for root, cgroup in zip(cgroup_roots(), machine.cgroups, strict=True):
        for part in (KEEPER, BOX):
            (cgroup / part).mkdir(parents=True, exist_ok=True)
        pass_controllers(root, cgroup)
    for cached in machine.host.binds.values():
        (cache_root() / cached).mkdir(parents=True, exist_ok=True)
        (cache_root() / cached).chmod(0o1777)  # accounts on hosts write here, and their numbers are theirs
    if machine.host.docker:
        for part in ("docker", "containerd"):
            (machine.folder / part).mkdir(exist_ok=True)
    script = SUPERVISOR.format(cgroups=" ".join(str(cgroup) for cgroup in machine.cgroups))
    environment = {
        **os.environ,
        "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1",
        "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network",
    }
    with (machine.folder / "console.log").open("ab") as console:
        started = subprocess.Popen(
            ["bash", "-c", script, f"lab-{machine.host.name}", *nspawn_command(machine)],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
            start_new_session=True,
        )
    (machine.folder / "pid").write_text(str(started.pid))


def answers(address: str) -> bool:
    """Tell whether sshd greets."""
    try:
        with socket.create_connection((address, 22), timeout=0.5) as connection:
            connection.settimeout(2)
            return connection.recv(8).startswith(b"SSH-2.0")
    except OSError:
        return False


def wait_for_ssh(machine: Machine, seconds: float = 90) -> None:
    """Returns when sshd greets; raises LabHostDown with the console's last line."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if answers(machine.address):
            return
        time.sleep(0.05)
    log = machine.folder / "console.log"
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    raise LabHostDown(
        where=machine.host.name, seconds=str(int(seconds)), console=lines[-1] if lines else "none", log=str(log)
    )


def processes(machine: Machine) -> list[int]:
    """Every process of the host, by its cgroups; os.walk because cgroups vanish while one looks."""
    pids: list[int] = []
    for cgroup in machine.cgroups:
        for folder, _, _ in os.walk(cgroup):
            try:
                pids += [int(line) for line in (Path(folder) / "cgroup.procs").read_text().split()]
            except OSError:
                continue
    return sorted(set(pids))


def power_off(machine: Machine) -> None:
    """Ask politely; `destroy` makes sure."""
    pid = machine.folder / "pid"
    if pid.exists() and int(pid.read_text()) in processes(machine):
        os.kill(int(pid.read_text()), signal.SIGTERM)


def wait_gone(machines: list[Machine], seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end and any(processes(machine) for machine in machines):
        time.sleep(0.05)


def destroy(machine: Machine) -> None:
    """Leave nothing: processes, mounts, namespace, interface, cgroups, files. Works on a half-made host too."""
    for pid in processes(machine):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    wait_gone([machine], 10)
    while machine.root.is_mount():
        if run("umount", "-R", machine.root, check=False).returncode != 0:
            run("umount", "-R", "-l", machine.root, check=False)
    run("ip", "netns", "del", machine.net.namespace(machine.host.name), check=False)
    run("ip", "link", "del", machine.net.veth(machine.number), check=False)
    for cgroup in machine.cgroups:
        remove_cgroups(cgroup)
    shutil.rmtree(machine.folder, ignore_errors=True)


def remove_cgroups(top: Path) -> None:
    for folder, _, _ in os.walk(top, topdown=False):
        try:
            Path(folder).rmdir()
        except OSError:
            continue
