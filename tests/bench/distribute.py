"""Brings one version to eight lab hosts over shaped links, by ours and by the named peers, in the same run.

`make bench-distribute`. Every host's link, and this machine's, carries the same rate both ways. Ratios are wall time
over size/rate, the least that a host with such a link needs; ours is the whole command, start included. The slow peers
carry a smaller version: their ratio does not depend on it. The last line is one JSON object with the figures.

100 hosts are simulated: 100 helpers on this machine over loopback, each held to a rate by its own limit.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from engine import BIN, boot, write_inventory
from pages import write_block

from steelyard.lab import fleet
from steelyard.lab.nspawn.network import LabNetwork
from steelyard.lab.nspawn.record import require_lab

NAME, HOSTS = "bench", 8
SIZE, PEER_SIZE = 400 << 20, 100 << 20  # bytes
RATE_MBIT = 200
SIMULATED, SIMULATED_SIZE, SIMULATED_RATE = 100, 20 << 20, 500_000  # hosts, bytes, bytes/s


def version(folder: Path, size: int, changed: int = 0, tensors: int = 40, seed: int = 1) -> Path:
    """A safetensors file of equal tensors, of which the last `changed` have other bytes."""
    folder.mkdir(parents=True)
    each = size // tensors
    header = {
        f"layer.{number:02}.weight": {
            "dtype": "U8",
            "shape": [each],
            "data_offsets": [number * each, (number + 1) * each],
        }
        for number in range(tensors)
    }
    text = json.dumps(header).encode()
    with (folder / "model.safetensors").open("wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        for number in range(tensors):
            out.write(random.Random(seed * 1000 + number + (500 if number >= tensors - changed else 0)).randbytes(each))
    (folder / "config.json").write_text("{}")
    return folder


class Links:
    """Shapes the lab's links with tc's token bucket; gone with the lab."""

    def __init__(self) -> None:
        lab = require_lab(NAME, "bench")
        self.net: LabNetwork = lab.net
        self.numbers = {machine.host.name: machine.number for machine in lab.machines}

    def _tc(self, device: str, mbit: float, space: str | None = None) -> None:
        inside = ["ip", "netns", "exec", space] if space else []
        burst = max(16_000, int(mbit * 1e6 / 8 * 0.005))
        words = [
            "tc",
            "qdisc",
            "replace",
            "dev",
            device,
            "root",
            "tbf",
            "rate",
            f"{mbit}mbit",
            "burst",
            str(burst),
            "latency",
            "100ms",
        ]
        subprocess.run([*inside, *words], check=True)

    def shape(self, name: str, mbit: float) -> None:
        """Both ways of one host's link."""
        self._tc(self.net.veth(self.numbers[name]), mbit)
        self._tc("host0", mbit, self.net.namespace(name))

    def shape_all(self, mbit: float) -> None:
        for name in list(self.numbers)[:HOSTS]:
            self.shape(name, mbit)
        self._tc(self.net.bridge, mbit)  # what this machine itself sends


def least(size: int, mbit: float) -> float:
    """Seconds that a link needs for so many bytes."""
    return size * 8 / (mbit * 1e6)


class Bench:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        lab = require_lab(NAME, "bench")
        self.names = list(lab.addresses())[:HOSTS]
        self.addresses = {name: lab.addresses()[name] for name in self.names}
        self.key, self.known = str(lab.paths.key), str(lab.paths.known_hosts)
        hosts: list[dict[str, object]] = [{"name": n, "address": a, "port": 22} for n, a in self.addresses.items()]
        self.hosts = hosts
        self.inventory = write_inventory(folder / "inventory", hosts, self.key, self.known)
        self.links = Links()
        (self.inventory / "group_vars/all").mkdir(parents=True)

    def declare(self, source: Path, name: str) -> None:
        models = {"llm/x": {"source": f"file://{source}", "version": name, "hosts": "all"}}
        (self.inventory / "group_vars/all/models.yml").write_text(
            yaml.safe_dump({"model_root": "/models", "models": models})
        )

    def steelyard(self, *words: str) -> dict[str, Any]:
        command = [str(BIN / "steelyard"), *words, "-i", str(self.inventory)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode not in (0, 3):
            sys.exit(f"{' '.join(command)}: exit {done.returncode}")
        return json.loads(done.stdout) if "--json" in words else {}

    def on(self, name: str, command: str) -> str:
        words = ["ssh", "-i", self.key, "-o", f"UserKnownHostsFile={self.known}", "-o", "BatchMode=yes"]
        words += [f"ops@{self.addresses[name]}", "sudo", "-n", "sh", "-c", f"'{command}'"]
        return subprocess.run(words, stdout=subprocess.PIPE, text=True, check=False).stdout

    def push(self, source: Path, name: str, meanwhile: Callable[[], None] | None = None) -> dict[str, Any]:
        """One push; adds wall seconds and the controller's peak memory (MiB)."""
        self.declare(source, name)
        self.steelyard("plan", "--deploy", "store", "-q")  # hashes the source and warms what a second run has
        subprocess.run([str(BIN / "python"), "-c", READ, str(source)], check=True, env={**os.environ, "PYTHONPATH": ""})
        other = threading.Thread(target=meanwhile) if meanwhile else None
        if other:
            other.start()
        began = time.monotonic()
        command = [str(BIN / "steelyard"), "models", "push", "--json", "-i", str(self.inventory)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert process.stdout is not None
        said = process.stdout.read()
        _, _, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - began
        if other:
            other.join()
        found: dict[str, Any] = json.loads(said)
        return {**found["models"][0], "errors": found["errors"], "wall": wall, "peak_mib": usage.ru_maxrss / 1024}

    def forget(self) -> None:
        for name in self.names:
            self.on(name, "rm -rf /models/llm /models/.steelyard /tmp/peer*")


READ = (
    "import sys; from steelyard.models.sources.resolve import read_manifest; read_manifest('llm/x', 'file://' "
    "+ sys.argv[1], 'x')"
)


ROWS: list[str] = []


def told(title: str, seconds: float, ratio: float, more: str = "") -> None:
    ROWS.append(f"| {title.strip()} | {seconds:.1f} | {ratio:.2f} | {more} |")
    print(f"{title:44} {seconds:8.1f} s {ratio:7.2f}   {more}", flush=True)


def ours(bench: Bench) -> dict[str, float]:
    figures: dict[str, float] = {}
    limit = least(SIZE, RATE_MBIT)
    source = version(bench.folder / "v1", SIZE)
    run = bench.push(source, "v1")
    require(len(run["hosts"]) == HOSTS, run)
    undisturbed = run["wall"]
    figures["ratio_8"] = round(undisturbed / limit, 3)
    figures["origin_bytes"] = round(run["origin_bytes"] / run["bytes"], 4)
    figures["controller_peak_mib"] = round(run["peak_mib"])
    told(
        "steelyard models push",
        undisturbed,
        undisturbed / limit,
        f"origin sent {figures['origin_bytes']:.4f} of the size; {run['seconds']:.1f} s between hosts",
    )

    lora = bench.push(version(bench.folder / "v2", SIZE, changed=3), "v2")
    figures["update_bytes"] = round(max(lora["hosts"].values()) / lora["bytes"], 4)
    told(
        "  an update of 3 tensors of 40",
        lora["wall"],
        lora["wall"] / limit,
        f"{figures['update_bytes']:.4f} of the bytes",
    )
    bench.forget()

    slow = bench.names[3]
    bench.links.shape(slow, RATE_MBIT / 10)
    done: dict[str, float] = {}

    def watch() -> None:
        began = time.monotonic()
        others = [name for name in bench.names if name != slow]
        while len(done) < len(others):
            time.sleep(0.5)
            for name in others:
                if name not in done and bench.on(name, "test -e /models/llm/x/v1/config.json && echo there").strip():
                    done[name] = time.monotonic() - began

    run = bench.push(source, "v1", meanwhile=watch)
    bench.links.shape(slow, RATE_MBIT)
    figures["slow_host"] = round(max(done.values()) / undisturbed, 3)
    told(
        "  one host at a tenth: the others",
        max(done.values()),
        max(done.values()) / limit,
        "; ".join(run["relinked"])[:90],
    )
    bench.forget()

    killed = bench.names[4]

    def kill() -> None:
        time.sleep(limit / 2)
        bench.on(killed, "pkill -9 -f store-relay")

    run = bench.push(source, "v1", meanwhile=kill)
    require(len(run["hosts"]) == HOSTS - 1, run)
    told("  one killed half-way: the others", run["wall"], run["wall"] / limit, "; ".join(run["relinked"])[:90])
    staged = int(bench.on(killed, "du -s --block-size=1 /models/.steelyard/staging | cut -f1") or 0)
    again = bench.push(source, "v1")
    resent = max(0, staged + again["hosts"][killed] - again["bytes"]) / again["bytes"]
    figures["resent_after_kill"] = round(resent, 4)
    told("  ... taken up", again["wall"], again["wall"] / limit, f"{resent:.4f} of the bytes were sent twice")
    bench.forget()
    return figures


def require(holds: bool, what: object) -> None:
    if not holds:
        sys.exit(f"not as it should be: {what}")


def timed(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def peers(bench: Bench) -> dict[str, float]:
    """Each brings the same file to all hosts in parallel, its own way."""
    source = version(bench.folder / "peer", PEER_SIZE) / "model.safetensors"
    limit = least(PEER_SIZE, RATE_MBIT)
    shared = ["-i", bench.key, "-o", f"UserKnownHostsFile={bench.known}", "-o", "BatchMode=yes", "-q"]

    def scp() -> None:
        running = [
            subprocess.Popen(["scp", *shared, str(source), f"ops@{address}:/tmp/peer"])
            for address in bench.addresses.values()
        ]
        require(all(process.wait() == 0 for process in running), "scp")

    inventory = [
        (name, {"ssh_hostname": address, "ssh_user": "ops", "ssh_key": bench.key, "ssh_known_hosts_file": bench.known})
        for name, address in bench.addresses.items()
    ]
    (bench.folder / "put_inventory.py").write_text(f"hosts = {inventory!r}\n")
    (bench.folder / "put.py").write_text(
        f"from pyinfra.operations import files\nfiles.put(src={str(source)!r}, dest='/tmp/peer-pyinfra')\n"
    )
    put = [str(BIN / "pyinfra"), "-y", str(bench.folder / "put_inventory.py"), str(bench.folder / "put.py")]
    play = [
        {"hosts": "all", "gather_facts": False, "tasks": [{"copy": {"src": str(source), "dest": "/tmp/peer-ansible"}}]}
    ]
    (bench.folder / "copy.yml").write_text(yaml.safe_dump(play))
    copy = [
        str(BIN / "ansible-playbook"),
        "-f",
        str(HOSTS),
        "-i",
        str(bench.inventory / "hosts.yml"),
        str(bench.folder / "copy.yml"),
    ]

    def run(words: list[str]) -> Callable[[], object]:
        return lambda: subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    figures = {}
    for name, work in (("scp, parallel", scp), ("pyinfra files.put", run(put)), ("ansible copy", run(copy))):
        seconds = timed(work)
        figures[f"ratio_{name.split(',')[0].replace(' ', '_')}"] = round(seconds / limit, 2)
        told(name, seconds, seconds / limit)
    seconds = torrent(bench, source)
    figures["ratio_libtorrent"] = round(seconds / limit, 2)
    told("libtorrent, 256 KiB pieces", seconds, seconds / limit)
    bench.forget()
    return figures


TORRENT = """
import sys, time, libtorrent as lt
kind, path, folder, address, port, *peers = sys.argv[1:]
session = lt.session({"listen_interfaces": f"{address}:{port}", "enable_dht": False, "enable_lsd": False,
    "enable_upnp": False, "enable_natpmp": False, "enable_outgoing_utp": False, "enable_incoming_utp": False,
    "allow_multiple_connections_per_ip": True,
    "peer_turnover_interval": 3600, "torrent_connect_boost": 50, "unchoke_slots_limit": 16})
handle = session.add_torrent({"ti": lt.torrent_info(path), "save_path": folder})
if kind == "seed":
    handle.set_flags(lt.torrent_flags.seed_mode)
for peer in peers:
    handle.connect_peer((peer.split(":")[0], int(peer.split(":")[1])))
while not handle.status().is_seeding:
    time.sleep(0.1)
print("done", flush=True)
time.sleep(3600)
"""


def torrent(bench: Bench, source: Path) -> float:
    """A process per host in the host's own network namespace: the same links, and no Python packages to install
    there.
    """
    import libtorrent

    files = libtorrent.file_storage()
    libtorrent.add_files(files, str(source))
    made = libtorrent.create_torrent(files, 256 << 10)
    libtorrent.set_piece_hashes(made, str(source.parent))
    (bench.folder / "torrent").write_bytes(libtorrent.bencode(made.generate()))
    script = bench.folder / "peer.py"
    script.write_text(TORRENT)
    everyone = [f"{address}:6881" for address in bench.addresses.values()]
    running = []
    for name, address in bench.addresses.items():
        folder = bench.folder / f"torrent-{name}"
        folder.mkdir()
        words = [sys.executable, str(script), "take", str(bench.folder / "torrent"), str(folder), address, "6881"]
        others = [peer for peer in everyone if not peer.startswith(address + ":")]
        inside = ["ip", "netns", "exec", bench.links.net.namespace(name)]
        running.append(subprocess.Popen([*inside, *words, *others], stdout=subprocess.PIPE, text=True))
    time.sleep(2)
    gateway = bench.links.net.gateway
    words = [
        sys.executable,
        str(script),
        "seed",
        str(bench.folder / "torrent"),
        str(source.parent),
        gateway,
        "6880",
        *everyone,
    ]
    seed = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    try:
        return timed(lambda: [process.stdout.readline() for process in running if process.stdout])
    finally:
        for process in [seed, *running]:
            process.kill()


def hundred(folder: Path) -> dict[str, float]:
    """The same code, as processes of one machine: what a chain of a hundred costs in time."""
    command = [sys.executable, __file__, "--hundred", str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    told("simulated: 100 helpers, each at its own limit", found["seconds"], found["ratio_100"])
    return {"ratio_100": found["ratio_100"]}


def hundred_inside(folder: Path) -> None:
    from steelyard.lab.simulated.slow_link import LocalRelay
    from steelyard.models.distribution.push import Push
    from steelyard.models.sources.resolve import read_manifest

    source = version(folder / "hundred", SIMULATED_SIZE)
    manifest = read_manifest("llm/x", f"file://{source}", "x")
    names = [f"h{number}" for number in range(SIMULATED)]
    talks = {name: LocalRelay(folder / name, "llm/x", "v1") for name in names}
    push = Push(manifest, source, dict.fromkeys(names, "127.0.0.1"), {}, SIMULATED_RATE, lambda _: None)
    pushed = push.run(talks)
    require(sorted(pushed.published) == sorted(names), pushed.errors)
    limit = manifest.size / SIMULATED_RATE
    print(json.dumps({"seconds": pushed.seconds, "ratio_100": round(pushed.seconds / limit, 3)}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hundred", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--no-peers", action="store_true", help="only ours")
    given = parser.parse_args()
    if given.hundred:
        hundred_inside(given.hundred)
        return
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        fleet.down(NAME, lambda _: None)
        try:
            boot(folder)
            bench = Bench(folder)
            bench.declare(version(folder / "v0", 1 << 20), "v0")
            bench.steelyard("apply", "--deploy", "store", "--yes", "-q")
            bench.links.shape_all(RATE_MBIT)
            print(f"{HOSTS} hosts, {RATE_MBIT} Mbit/s each way; ratio = seconds / (size / rate)\n", flush=True)
            figures |= ours(bench)
            if not given.no_peers:
                figures |= peers(bench)
        finally:
            fleet.down(NAME, lambda _: None)
        figures |= hundred(folder)
        shutil.rmtree(folder / "hundred", ignore_errors=True)
    if not given.no_peers:
        written()
    print(json.dumps(figures))


def written() -> None:
    """The same lines as a table, into the page that shows them."""
    head = [f"{HOSTS} hosts, {RATE_MBIT} Mbit/s each way, one machine with {os.cpu_count()} processors.", ""]
    table = ["| | seconds | / (size / rate) | |", "|---|---|---|---|", *ROWS]
    write_block("distribute", "\n".join([*head, *table]))


if __name__ == "__main__":
    main()
