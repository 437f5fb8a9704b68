"""Looks at forty tasks that are in sync, with ours and the named peers, on the same lab hosts in the same run.

`make bench-engine`. Peers: stock pyinfra, ansible-core with pipelining, ansible-core with mitogen, and the floor: one
compound script over one SSH exec per host. Per run: wall, CPU of the controller and of the hosts, controller's peak
memory (PSS), execs and round trips. A delay of 20 ms is made by a relay in front of one host's sshd, in a process that
is not counted. The last line is one JSON object with the figures of the design, section 12.
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import re
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

from steelyard.lab import fleet, spec
from steelyard.lab.layers import save_layer
from steelyard.lab.login import ssh_command
from steelyard.lab.paths import has_layer
from steelyard.lab.record import require_lab
from steelyard.modules.connectors.frames import batch, opening, split_login

HERE = Path(__file__).parent
FORTY = HERE / "forty"
BIN = Path(sys.executable).parent
NAME = "bench"
RUNS = 3  # of a fleet
RUNS_OF_ONE = 7  # a run of one host is short, and what the machine does beside it weighs more
DELAY_S = 0.010  # each way
DELAYED_PORT = 2299
OURS = ("src", "modules", "roles", "deploy")


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
        HOSTS[name] = root / path.lstrip("/") / "cpu.stat"


def tree(pid: int) -> list[int]:
    """A process and all its descendants."""
    try:
        children = [
            int(word) for task in Path(f"/proc/{pid}/task").iterdir() for word in (task / "children").read_text().split()
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

    return Figures(middle("wall"), middle("controller"), middle("remote"), middle("pss"), runs[-1].execs, runs[-1].trips)


# Peers


def our_trips(said: str) -> float:
    found = [line.split(" channel")[1].split(",")[1].split()[0] for line in said.splitlines() if ": ssh: " in line]
    return max(float(count) for count in found)


def counting(said: str) -> float:
    return float(said.rsplit("EXECS ", 1)[1].split()[0])


def peers(folder: Path, inventory: Path, hosts: list[dict[str, object]], key: str, known: str, few: bool) -> list[Peer]:
    """Every peer over the same hosts; with `few`, the slow ones run once."""
    pyinfra_hosts = [
        (str(host["name"]), {
            "ssh_hostname": host["address"], "ssh_port": host["port"], "ssh_user": "ops", "ssh_key": key, "_sudo": True,
            "ssh_known_hosts_file": known, "ssh_strict_host_key_checking": "yes",
        }) for host in hosts
    ]  # fmt: skip
    (folder / "stock_inventory.py").write_text(f"hosts = {pyinfra_hosts!r}\n")
    (folder / "floor.json").write_text(json.dumps({"key": key, "known_hosts": known, "hosts": hosts}))
    ansible = {
        "ANSIBLE_PIPELINING": "True", "ANSIBLE_FORKS": "20", "ANSIBLE_CONFIG": str(folder / "ansible.cfg"), "ANSIBLE_HOST_KEY_CHECKING": "True",
        "ANSIBLE_GATHERING": "explicit", "ANSIBLE_PYTHON_INTERPRETER": "/usr/bin/python3", "ANSIBLE_NOCOLOR": "1",
    }  # fmt: skip
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
    return [
        Peer(
            "floor: one script, one exec",
            [sys.executable, str(FORTY / "floor.py"), str(folder / "floor.json"), str(folder / "script")],
            runs=often,
        ),
        Peer("steelyard plan", ours, runs=often, counted=our_trips),
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
        "ansible_user": "ops", "ansible_become": True, "ansible_ssh_private_key_file": key,
        "ansible_ssh_common_args": f"-o UserKnownHostsFile={known} -o StrictHostKeyChecking=yes -o ControlPersist=60s",
    }  # fmt: skip
    listed = {str(host["name"]): {"ansible_host": host["address"], "ansible_port": host["port"]} for host in hosts}
    (folder / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": listed, "vars": shared}}))
    return folder


def compound(hosts: list[dict[str, object]], inventory: Path) -> str:
    """The floor's script: the very questions that ours asks, from the list it keeps."""
    from steelyard.cache import cache_folder

    newest = max((cache_folder() / "prefetch").glob("*.json"), key=lambda path: path.stat().st_mtime)
    questions = json.loads(newest.read_text())
    return opening("steelyard-floor") + batch([split_login(text)[1] for text in questions], "steelyard-floor")


def table(rows: dict[str, Figures], title: str) -> None:
    print(f"\n{title}", flush=True)
    print(f"{'':30} {'wall s':>8} {'ctl cpu s':>10} {'remote cpu s':>13} {'ctl PSS MiB':>12} {'round trips':>12}")
    for name, run in rows.items():
        trips = f"{run.trips:.0f}" if run.trips is not None else "-"
        print(f"{name:30} {run.wall:8.2f} {run.controller:10.2f} {run.remote:13.2f} {run.pss:12.0f} {trips:>12}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, nargs="+", default=[1, 8, 20], help="fleets to look at; all of them for the pages")
    sizes: list[int] = parser.parse_args().hosts
    results: dict[str, dict[str, Figures]] = {}
    for room in OURS:  # pip compiled the peers when it installed them; a checkout is compiled by its first run, or never
        compileall.compile_dir(HERE.parent.parent / room, quiet=2)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        fleet.down(NAME, lambda _: None)
        try:
            boot(folder)
            lab = require_lab(NAME, "bench")
            key, known = str(lab.paths.key), str(lab.paths.known_hosts)
            everyone: list[dict[str, object]] = [
                {"name": name, "address": address, "port": 22} for name, address in lab.addresses().items()
            ]
            find_accounts([str(host["name"]) for host in everyone])
            first = write_inventory(folder / "first", everyone, key, known)
            ours = [str(BIN / "steelyard"), "apply", "-i", str(first), "--deploy", str(FORTY / "ours.py"), "--yes", "-q"]
            subprocess.run(ours, check=True, stdout=subprocess.DEVNULL)
            for count in sizes:
                results[f"{count} hosts"] = run_all(folder, everyone[:count], key, known, count)
            address = str(everyone[1]["address"])
            line = next(line for line in Path(known).read_text().splitlines() if line.startswith(address + " "))
            delayed_known = folder / "known_hosts"
            delayed_known.write_text(f"[127.0.0.1]:{DELAYED_PORT} {line.split(' ', 1)[1]}\n")
            relay = delayed(address)
            try:
                host: dict[str, object] = {"name": everyone[1]["name"], "address": "127.0.0.1", "port": DELAYED_PORT}
                results["1 host behind 20 ms"] = run_all(folder, [host], key, str(delayed_known), 99)
            finally:
                relay.kill()
        finally:
            fleet.down(NAME, lambda _: None)
    written(results)
    print(json.dumps(figures(results, sizes)))


def boot(folder: Path) -> None:
    """Twenty hosts alike; Ansible's apt module wants python3-apt on them, which is installed once and kept as a layer."""
    if not has_layer("bench"):
        made = fleet.up(NAME, spec.hosts_of(1, FORTY / "lab.yml"), folder / "lab", lambda _: None, wheels=False)
        install = "apt-get -q update && apt-get -q -y install --no-install-recommends python3-apt"
        words = ssh_command(NAME, "node-1", ["sudo", "-n", "sh", "-c", install])
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
        save_layer(made.machine("node-1"), "bench")
        fleet.down(NAME, lambda _: None)
    fleet.up(NAME, spec.hosts_of(20, FORTY / "lab.yml"), folder / "lab", lambda _: None, wheels=False)


def run_all(folder: Path, hosts: list[dict[str, object]], key: str, known: str, number: int) -> dict[str, Figures]:
    inventory = write_inventory(folder / f"inventory-{number}", hosts, key, known)
    names = [str(host["name"]) for host in hosts]
    # the first look makes the lists that the second one uses
    warm = [str(BIN / "steelyard"), "plan", "-i", str(inventory), "--deploy", str(FORTY / "ours.py"), "-q"]
    subprocess.run(warm, check=True, stdout=subprocess.DEVNULL)
    (folder / "script").write_text(compound(hosts, inventory))
    everyone = peers(folder, inventory, hosts, key, known, few=len(hosts) > 1)
    runs: dict[str, list[Figures]] = {peer.name: [] for peer in everyone}
    for turn in range(max(peer.runs for peer in everyone)):  # in turns: what slows the machine for a minute slows all
        for peer in everyone:
            if turn < peer.runs:
                runs[peer.name].append(measure(peer, names))
    rows = {name: median(figures) for name, figures in runs.items()}
    table(rows, f"{len(hosts)} hosts" if number != 99 else "1 host behind 20 ms of round trip")
    return rows


def written(results: dict[str, dict[str, Figures]]) -> None:
    """The same tables as Markdown, into the pages that show them."""
    lines = []
    for title, rows in results.items():
        lines += [
            f"| {title} | wall s | controller CPU s | hosts' CPU s | controller MiB | round trips |",
            "|---|---|---|---|---|---|",
        ]
        lines += [
            f"| {name} | {run.wall:.2f} | {run.controller:.2f} | {run.remote:.2f} | {run.pss:.0f} | {'-' if run.trips is None else int(run.trips)} |"
            for name, run in rows.items()
        ]
        lines.append("")
    marks = re.compile(r"(<!-- engine -->\n).*?(<!-- end -->)", re.S)
    for page in (HERE.parent.parent / name for name in ("README.md", "README.zh-CN.md")):
        page.write_text(marks.sub(lambda found: found[1] + "\n".join(lines) + found[2], page.read_text()))


def figures(results: dict[str, dict[str, Figures]], sizes: list[int]) -> dict[str, float]:
    """The worst ratio over the fleets, and where it matters each of them; below 1 ours is less."""

    def ratio(title: str, peer: str, name: str) -> float:
        return round(getattr(results[title]["steelyard plan"], name) / getattr(results[title][peer], name), 3)

    def worst(peer: str, name: str) -> float:
        return max(ratio(title, peer, name) for title in results if "20 ms" not in title)

    far = results["1 host behind 20 ms"]
    return {
        "round_trips_in_sync": max(rows["steelyard plan"].trips or 0 for rows in results.values()),
        "ctl_cpu_vs_ansible": worst("ansible, pipelining", "controller"),
        "ctl_cpu_vs_pyinfra": worst("pyinfra --dry", "controller"),
        **{f"ctl_cpu_vs_pyinfra_{count}": ratio(f"{count} hosts", "pyinfra --dry", "controller") for count in sizes},
        "ctl_cpu_vs_floor": worst("floor: one script, one exec", "controller"),
        "remote_cpu_vs_ansible": worst("ansible, pipelining", "remote"),
        "wall_20ms_vs_pyinfra": round(far["steelyard plan"].wall / far["pyinfra plan + apply"].wall, 3),
    }


if __name__ == "__main__":
    main()
