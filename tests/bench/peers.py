"""The named peers of `make bench-engine`, and what a run of each costs."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from steelyard.lab.nspawn.record import require_lab

HERE = Path(__file__).parent
FORTY = HERE / "forty"
BIN = Path(sys.executable).parent
NAME = os.environ.get("STEELYARD_BENCH_LAB", "bench")
RUNS = 3  # of a fleet
RUNS_OF_ONE = 7  # a run of one host is short, and what the machine does beside it weighs more
DELAY_S = 0.010  # each way
DELAYED_PORT = 2299
BESIDE: list[Path] = []  # checkouts of steelyard with a .venv, measured in the same turns as this one
COLD = ["sh", "-c", 'XDG_CACHE_HOME=$(mktemp -d) XDG_STATE_HOME=$(mktemp -d) exec "$0" "$@"']  # as a runner of CI


@dataclass
class Figures:
    """One run; seconds and MiB. `execs` and `trips` are per host, None where a peer cannot be counted."""

    wall: float
    controller: float
    remote: float
    pss: float
    execs: float | None = None
    trips: float | None = None


@dataclass
class Peer:
    name: str
    command: list[str]
    runs: int
    environment: dict[str, str] = field(default_factory=dict)
    counted: Callable[[str], float] | None = None


def remote_cpu(hosts: list[str]) -> float:
    """CPU seconds of all processes of the hosts, dead ones too: their cgroups' own account."""
    total = 0
    for name in hosts:
        total += int(HOSTS[name].read_text().split("usage_usec ")[1].split()[0])
    return total / 1e6


HOSTS: dict[str, Path] = {}


def find_accounts(names: list[str]) -> None:
    """Where the kernel counts each host's CPU."""
    lab = require_lab(NAME, "bench")
    for name in names:
        pid = (lab.paths.host(name) / "pid").read_text().strip()
        path = next(line[4:] for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines() if line.startswith("0::"))
        unified = Path("/sys/fs/cgroup/unified")
        root = unified if unified.is_dir() else Path("/sys/fs/cgroup")
        HOSTS[name] = root / path.lstrip("/").removesuffix("/keeper") / "cpu.stat"


def tree(pid: int) -> list[int]:
    """A process and all its descendants."""
    try:
        children = [
            int(word)
            for task in Path(f"/proc/{pid}/task").iterdir()
            for word in (task / "children").read_text().split()
        ]
    except OSError:
        return [pid]
    return [pid, *(found for child in children for found in tree(child))]


def peak_pss(root: int, ended: threading.Event, kept: list[float]) -> None:
    """Watch the memory of a process and its children until it ends; MiB."""
    while not ended.wait(0.2):
        total = 0
        for pid in tree(root):
            try:
                text = Path(f"/proc/{pid}/smaps_rollup").read_text()
            except OSError:
                continue
            total += next((int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")), 0)
        kept.append(total / 1024)


def measure(peer: Peer, hosts: list[str]) -> Figures:
    """One run of a peer; fails where the peer does not find everything in sync."""
    environment = {**os.environ, **peer.environment}
    before, began = remote_cpu(hosts), time.monotonic()
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            peer.command, stdout=output, stderr=subprocess.STDOUT, env=environment, cwd=HERE.parent.parent
        )
        kept: list[float] = [0.0]
        ended = threading.Event()
        watcher = threading.Thread(target=peak_pss, args=(process.pid, ended, kept))
        watcher.start()
        # the peer and the children it waited for; what this bench itself does is not in it
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        ended.set()
        watcher.join()
        output.seek(0)
        said = output.read()
    if process.returncode != 0:
        sys.exit(f"{peer.name}: exit {process.returncode}\n{said[-3000:]}")
    controller = usage.ru_utime + usage.ru_stime
    trips = peer.counted(said) if peer.counted else None
    return Figures(wall, controller, remote_cpu(hosts) - before, max(kept), trips, trips)


def median(runs: list[Figures]) -> Figures:
    def middle(name: str) -> float:
        return statistics.median(getattr(run, name) for run in runs)

    return Figures(
        middle("wall"), middle("controller"), middle("remote"), middle("pss"), runs[-1].execs, runs[-1].trips
    )


# Peers


def our_trips(said: str) -> float:
    found = [line.split(" channel")[1].split(",")[1].split()[0] for line in said.splitlines() if ": ssh: " in line]
    return max(float(count) for count in found)


def counting(said: str) -> float:
    return float(said.rsplit("EXECS ", 1)[1].split()[0])


def peers(folder: Path, inventory: Path, hosts: list[dict[str, object]], key: str, known: str, few: bool) -> list[Peer]:
    """Every peer over the same hosts; with `few`, the slow ones run once."""
    pyinfra_hosts = [
        (
            str(host["name"]),
            {
                "ssh_hostname": host["address"],
                "ssh_port": host["port"],
                "ssh_user": "ops",
                "ssh_key": key,
                "_sudo": True,
                "ssh_known_hosts_file": known,
                "ssh_strict_host_key_checking": "yes",
            },
        )
        for host in hosts
    ]
    (folder / "stock_inventory.py").write_text(f"hosts = {pyinfra_hosts!r}\n")
    (folder / "floor.json").write_text(json.dumps({"key": key, "known_hosts": known, "hosts": hosts}))
    ansible = {
        "ANSIBLE_PIPELINING": "True",
        "ANSIBLE_FORKS": "20",
        "ANSIBLE_CONFIG": str(folder / "ansible.cfg"),
        "ANSIBLE_HOST_KEY_CHECKING": "True",
        "ANSIBLE_GATHERING": "explicit",
        "ANSIBLE_PYTHON_INTERPRETER": "/usr/bin/python3",
        "ANSIBLE_NOCOLOR": "1",
    }
    (folder / "ansible.cfg").write_text("[defaults]\n")
    import ansible_mitogen

    strategy = str(Path(ansible_mitogen.__file__).parent / "plugins" / "strategy")
    mitogen = {**ansible, "ANSIBLE_STRATEGY_PLUGINS": strategy, "ANSIBLE_STRATEGY": "mitogen_linear"}
    play = [str(BIN / "ansible-playbook"), "-i", str(inventory / "hosts.yml"), str(FORTY / "playbook.yml")]
    ours = [str(BIN / "steelyard"), "plan", "-i", str(inventory), "--deploy", str(FORTY / "ours.py"), "-v"]
    stock = [
        sys.executable,
        str(FORTY / "counted_pyinfra.py"),
        "-y",
        str(folder / "stock_inventory.py"),
        str(FORTY / "stock.py"),
    ]
    dry = [word if word != "-y" else "--dry" for word in stock]
    often = RUNS if few else RUNS_OF_ONE
    slow = 1 if few else RUNS_OF_ONE
    besides = [
        Peer(
            f"steelyard of {checkout.name}",
            [str(checkout / ".venv/bin/steelyard"), *ours[1:-2], str(checkout / "tests/bench/forty/ours.py"), "-v"],
            often,
            {"XDG_CACHE_HOME": str(folder / checkout.name), "XDG_STATE_HOME": str(folder / checkout.name)},
        )
        for checkout in BESIDE
    ]
    return [
        *besides,
        Peer(
            "floor: one script, one exec",
            [sys.executable, str(FORTY / "floor.py"), str(folder / "floor.json"), str(folder / "script")],
            runs=often,
        ),
        Peer("steelyard plan", ours, runs=often, counted=our_trips),
        Peer("steelyard plan, cold", [*COLD, *ours], runs=often, counted=our_trips),
        Peer("pyinfra --dry", dry, runs=slow, counted=counting),
        Peer("pyinfra plan + apply", stock, runs=slow, counted=counting),
        Peer("ansible + mitogen", play, 1, mitogen),
        Peer("ansible, pipelining", play, 1, ansible),
    ]


def delayed(address: str) -> subprocess.Popen[bytes]:
    relay = subprocess.Popen([sys.executable, str(FORTY / "delay.py"), str(DELAYED_PORT), address, "22", str(DELAY_S)])
    time.sleep(0.5)
    return relay


def write_inventory(folder: Path, hosts: list[dict[str, object]], key: str, known: str) -> Path:
    """For ours and Ansible's: the same hosts, nothing else."""
    folder.mkdir()
    shared = {
        "ansible_user": "ops",
        "ansible_become": True,
        "ansible_ssh_private_key_file": key,
        "ansible_ssh_common_args": f"-o UserKnownHostsFile={known} -o StrictHostKeyChecking=yes -o ControlPersist=60s",
    }
    listed = {str(host["name"]): {"ansible_host": host["address"], "ansible_port": host["port"]} for host in hosts}
    (folder / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": listed, "vars": shared}}))
    return folder


def firsts(folder: Path, inventory: Path, hosts: list[dict[str, object]], key: str, known: str) -> list[Peer]:
    """The peers that apply the forty tasks to hosts that have none of them; ours with empty caches."""
    applying = ("pyinfra plan + apply", "ansible + mitogen", "ansible, pipelining")
    ours = [str(BIN / "steelyard"), "apply", "-i", str(inventory), "--deploy", str(FORTY / "ours.py"), "--yes", "-v"]
    return [
        Peer("steelyard apply", [*COLD, *ours], 1, counted=our_trips),
        *(peer for peer in peers(folder, inventory, hosts, key, known, few=True) if peer.name in applying),
    ]
