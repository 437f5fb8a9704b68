"""Looks at forty tasks that are in sync, with ours and the named peers, on the same lab hosts in the same run.

`make bench-engine`. Peers: stock pyinfra, ansible-core with pipelining, ansible-core with mitogen, and the floor: one
compound script over one SSH exec per host. Per run: wall, CPU of the controller and of the hosts, controller's peak
memory (PSS), execs and round trips. A delay of 20 ms is made by a relay in front of one host's sshd, in a process that
is not counted. The last line is one JSON object with the figures of docs/design/decisions.md.
"""

from __future__ import annotations

import argparse
import compileall
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pages import write_block
from peers import (
    BESIDE,
    BIN,
    DELAYED_PORT,
    FORTY,
    HERE,
    NAME,
    Figures,
    delayed,
    find_accounts,
    firsts,
    measure,
    median,
    peers,
    write_inventory,
)

from steelyard.lab import fleet
from steelyard.lab.nspawn import spec
from steelyard.lab.nspawn.layers import save_layer
from steelyard.lab.nspawn.login import ssh_command
from steelyard.lab.nspawn.paths import has_layer
from steelyard.lab.nspawn.record import Lab, require_lab
from steelyard.modules.connectors.frames import batch, opening, split_login

OURS = ("src", "modules", "roles", "deploy")
FAR, FIRST = "1 host behind 20 ms", "first apply"
FIRST_FAR = f"{FIRST}, {FAR}"
Host = dict[str, object]
Results = dict[str, dict[str, Figures]]


def compound(hosts: list[dict[str, object]], inventory: Path) -> str:
    """The floor's script: the very questions that ours asks, from the list it keeps."""
    from steelyard.dirs import cache_folder

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
    parser.add_argument(
        "--hosts", type=int, nargs="+", default=[1, 8, 20], help="fleets to look at; all of them for the pages"
    )
    parser.add_argument("--only", choices=["looks", "first applies"], help="one half of it; the pages want both")
    parser.add_argument("--beside", type=Path, action="append", default=[], help="another checkout to measure")
    asked = parser.parse_args()
    sizes: list[int] = asked.hosts
    BESIDE.extend(asked.beside)
    results: Results = {}
    for (
        room
    ) in OURS:  # pip compiled the peers when it installed them; a checkout is compiled by its first run, or never
        compileall.compile_dir(HERE.parent.parent / room, quiet=2)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        fleet.down(NAME, lambda _: None)
        try:
            if asked.only != "first applies":
                results |= looks(folder, sizes)
            if asked.only != "looks":
                results |= first_applies(folder, sizes)
        finally:
            fleet.down(NAME, lambda _: None)
    if asked.only is None:
        written(results)
    print(json.dumps(figures(results, sizes)))


def looks(folder: Path, sizes: list[int]) -> Results:
    """Forty tasks that are in sync, looked at on the same hosts by everybody."""
    results: Results = {}
    lab, everyone = boot(folder, max(2, *sizes))
    key, known = str(lab.paths.key), str(lab.paths.known_hosts)
    first = write_inventory(folder / "first", everyone, key, known)
    words = ["apply", "-i", str(first), "--deploy", str(FORTY / "ours.py"), "--yes", "-q"]
    subprocess.run([str(BIN / "steelyard"), *words], check=True, stdout=subprocess.DEVNULL)
    for count in sizes:
        results[f"{count} hosts"] = run_all(folder, everyone[:count], key, known, count)
    with behind(folder, everyone[1], known) as (host, delayed_known):
        results[FAR] = run_all(folder, [host], key, delayed_known, 99)
    return results


def first_applies(folder: Path, sizes: list[int]) -> Results:
    """The forty tasks on hosts that have none of them: each peer gets hosts of its own, booted for it."""
    results: Results = {}
    for title, count in [*((f"{FIRST}, {count} hosts", count) for count in sizes), (FIRST_FAR, 1)]:
        rows: dict[str, Figures] = {}
        for number in range(4):
            lab, everyone = boot(folder, count)
            key, known = str(lab.paths.key), str(lab.paths.known_hosts)
            with ExitStack() as stack:
                hosts = everyone
                if title == FIRST_FAR:
                    host, known = stack.enter_context(behind(folder, everyone[0], known))
                    hosts = [host]
                inventory = write_inventory(folder / f"{title} {number}", hosts, key, known)
                peer = firsts(folder, inventory, hosts, key, known)[number]
                rows[peer.name] = measure(peer, [str(host["name"]) for host in hosts])
        table(rows, title)
        results[title] = rows
    return results


@contextmanager
def behind(folder: Path, host: Host, known: str) -> Iterator[tuple[Host, str]]:
    """A host behind a line of 20 ms, and the file that knows its key."""
    address = str(host["address"])
    line = next(line for line in Path(known).read_text().splitlines() if line.startswith(address + " "))
    delayed_known = folder / "known_hosts"
    delayed_known.write_text(f"[127.0.0.1]:{DELAYED_PORT} {line.split(' ', 1)[1]}\n")
    relay = delayed(address)
    try:
        yield {"name": host["name"], "address": "127.0.0.1", "port": DELAYED_PORT}, str(delayed_known)
    finally:
        relay.kill()


def boot(folder: Path, count: int) -> tuple[Lab, list[Host]]:
    """Fresh hosts, all alike; Ansible's apt module wants python3-apt on them, which is installed once and kept as a
    layer.
    """
    fleet.down(NAME, lambda _: None)
    if not has_layer("bench"):
        made = fleet.up(NAME, spec.hosts_of(1, FORTY / "lab.yml"), folder / "lab", lambda _: None, wheels=False)
        install = "apt-get -q update && apt-get -q -y install --no-install-recommends python3-apt"
        words = ssh_command(NAME, "node-1", ["sudo", "-n", "sh", "-c", install])
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
        save_layer(made.machine("node-1"), "bench")
        fleet.down(NAME, lambda _: None)
    shutil.rmtree(folder / "lab", ignore_errors=True)
    fleet.up(NAME, spec.hosts_of(count, FORTY / "lab.yml"), folder / "lab", lambda _: None, wheels=False)
    lab = require_lab(NAME, "bench")
    everyone: list[Host] = [{"name": name, "address": at, "port": 22} for name, at in lab.addresses().items()]
    find_accounts([str(host["name"]) for host in everyone])
    return lab, everyone


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
    """The same tables as Markdown, into the page that shows them."""
    lines = []
    for title, rows in results.items():
        lines += [
            f"| {title} | wall s | controller CPU s | hosts' CPU s | controller MiB | round trips |",
            "|---|---|---|---|---|---|",
        ]
        lines += [
            (
                f"| {name} | {run.wall:.2f} | {run.controller:.2f} | {run.remote:.2f} | {run.pss:.0f} | "
                f"{'-' if run.trips is None else int(run.trips)} |"
            )
            for name, run in rows.items()
        ]
        lines.append("")
    write_block("engine", "\n".join(lines))


def figures(results: Results, sizes: list[int]) -> dict[str, float]:
    """The worst ratio over the fleets, and where it matters each of them; below 1 ours is less."""

    def ratio(title: str, mine: str, peer: str, name: str) -> float:
        return round(getattr(results[title][mine], name) / getattr(results[title][peer], name), 3)

    def worst(mine: str, peer: str, name: str, first: bool = False) -> float:
        near = [title for title in results if FAR not in title and title.startswith(FIRST) == first]
        return max(ratio(title, mine, peer, name) for title in near)

    def trips(mine: str) -> float:
        return max(rows[mine].trips or 0 for rows in results.values() if mine in rows)

    plan, cold, apply, pyinfra = "steelyard plan", "steelyard plan, cold", "steelyard apply", "pyinfra plan + apply"
    found: dict[str, float] = {}
    if FAR in results:
        found |= {
            "round_trips_in_sync": trips(plan),
            "cold_round_trips": trips(cold),
            "ctl_cpu_vs_ansible": worst(plan, "ansible, pipelining", "controller"),
            "ctl_cpu_vs_pyinfra": worst(plan, "pyinfra --dry", "controller"),
            **{
                f"ctl_cpu_vs_pyinfra_{count}": ratio(f"{count} hosts", plan, "pyinfra --dry", "controller")
                for count in sizes
            },
            "cold_plan_ctl_cpu_vs_pyinfra": worst(cold, "pyinfra --dry", "controller"),
            "ctl_cpu_vs_floor": worst(plan, "floor: one script, one exec", "controller"),
            "remote_cpu_vs_ansible": worst(plan, "ansible, pipelining", "remote"),
            "wall_20ms_vs_pyinfra": ratio(FAR, plan, pyinfra, "wall"),
        }
    if FIRST_FAR in results:
        found |= {
            "first_apply_round_trips": trips(apply),
            "first_apply_wall_20ms_vs_pyinfra": ratio(FIRST_FAR, apply, pyinfra, "wall"),
            "first_apply_wall_20ms_vs_ansible": ratio(FIRST_FAR, apply, "ansible, pipelining", "wall"),
            "first_apply_ctl_cpu_vs_pyinfra": worst(apply, pyinfra, "controller", first=True),
        }
    return found


if __name__ == "__main__":
    main()
