"""Looks at a simulated fleet of 500, 1,000 and 5,000 hosts: inventory, settings, SSH, facts, plan, report.

`make bench-scale`. The hosts are simulated by one SSH server of ours (`forty/answering.py`) that answers the recorded
facts of a real lab host at as many loopback addresses; all else is the real path, logins and key exchange included. The
server's CPU is not counted. The largest fleet is written twice: as one YAML file, and with a file of variables for each
host. A last look has 20 hosts that let us in and then say nothing. The last line is one JSON object with the figures of
docs/design/decisions.md. `--beside CHECKOUT` measures another build in the same run; `--record` writes the answers anew
from a lab host.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

HERE = Path(__file__).parent
CHECKOUT = HERE.parent.parent
FORTY = HERE / "forty"
ANSWERS = FORTY / "answers.json"
BIN = Path(sys.executable).parent
PORT = 2298
SILENT = 20
TIMEOUT_S = 10


def address(number: int) -> str:
    return f"127.{10 + number // 62500}.{number // 250 % 250}.{1 + number % 250}"


def write_inventory(folder: Path, count: int, key: Path, known: Path, every: int = 10) -> Path:
    """Ten racks with group variables, a file of variables for one host of so many: as a large site has them."""
    racks: dict[str, dict[str, dict[str, dict[str, str]]]] = {}
    for number in range(count):
        rack = racks.setdefault(f"rack{number % 10}", {"hosts": {}})
        rack["hosts"][f"gpu-{number + 1}"] = {"ansible_host": address(number)}
    shared = {
        "ansible_user": "ops",
        "ansible_port": PORT,
        "ansible_become": True,
        "ansible_ssh_private_key_file": str(key),
        "ansible_ssh_common_args": f"-o UserKnownHostsFile={known} -o StrictHostKeyChecking=yes",
        "steelyard_timeout_s": TIMEOUT_S,
        "base": {"open_files": 65536},
    }
    folder.mkdir()
    (folder / "hosts.yml").write_text(yaml.safe_dump({"all": {"children": {"gpu": {"children": racks}}}}))
    (folder / "group_vars").mkdir()
    (folder / "group_vars" / "all.yml").write_text(yaml.safe_dump(shared))
    for rack in range(10):
        (folder / "group_vars" / f"rack{rack}.yml").write_text(f"mtu: {1500 + rack}\n")
    (folder / "host_vars").mkdir()
    for number in range(0, count, every):
        (folder / "host_vars" / f"gpu-{number + 1}.yml").write_text("mtu: 9000\n")
    return folder


def look(command: list[str], expected: int) -> tuple[float, float, float, str]:
    """Wall and CPU seconds, peak MiB and output of one command."""
    began = time.monotonic()
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.PIPE, cwd=HERE.parent.parent)
        err = (process.stderr.read() if process.stderr else b"").decode(errors="replace")
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        text = out.read()
    if process.returncode != expected:
        sys.exit(f"{' '.join(command)}: exit {process.returncode}\n{err[-2000:]}\n{text[-2000:]}")
    return time.monotonic() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, text


def record() -> None:
    """Ask a real lab host, provisioned with the forty tasks, everything that a look asks."""
    from steelyard.dirs import cache_folder
    from steelyard.lab import fleet
    from steelyard.lab.nspawn import spec
    from steelyard.lab.nspawn.login import ssh_command
    from steelyard.modules.connectors.frames import split_login

    with tempfile.TemporaryDirectory() as made:
        inventory = Path(made) / "lab"
        fleet.up("bench", spec.hosts_of(1, FORTY / "lab.yml"), inventory, lambda _: None, wheels=False)
        (inventory / "group_vars/all/models.yml").unlink()
        try:
            words = ["-i", str(inventory), "--deploy", str(FORTY / "ours.py"), "-q"]
            subprocess.run([str(BIN / "steelyard"), "apply", *words, "--yes"], check=True, stdout=subprocess.DEVNULL)
            subprocess.run([str(BIN / "steelyard"), "plan", *words], check=True, stdout=subprocess.DEVNULL)
            newest = max((cache_folder() / "prefetch").glob("*.json"), key=lambda path: path.stat().st_mtime)
            found = {}
            for text in json.loads(newest.read_text()):
                import shlex

                asked = shlex.split(split_login(text)[1])[0]
                done = subprocess.run(
                    ssh_command("bench", "node-1", ["sudo", "-n", "sh", "-c", asked]), capture_output=True, text=True
                )
                found[asked] = [str(done.returncode), done.stdout.removesuffix("\n"), done.stderr.removesuffix("\n")]
        finally:
            fleet.down("bench", lambda _: None)
    ANSWERS.write_text(json.dumps(found, indent=1) + "\n")
    print(f"recorded {len(found)} answers")


@dataclass(frozen=True)
class Looked:
    """Wall and CPU seconds of a first look with nothing kept and of a second one, and MiB at the highest."""

    cold_s: float
    cold_cpu_s: float
    warm_s: float
    warm_cpu_s: float
    peak_mib: float


def measure(name: str, inventory: Path, count: int, checkout: Path = CHECKOUT) -> Looked:
    """A plan twice, by the build of a checkout. The caches are emptied before."""
    shutil.rmtree(Path(os.environ["XDG_CACHE_HOME"]), ignore_errors=True)
    deploy = str(checkout / "tests/bench/forty/ours.py")
    plan = [str(checkout / ".venv/bin/steelyard"), "plan", "-i", str(inventory), "--deploy", deploy, "--json"]
    first, second = look(plan, 0), look(plan, 0)
    assert len(json.loads(first[3])["hosts"]) == count
    for kept, (wall, cpu, peak, _) in (("nothing kept", first), ("kept", second)):
        print(
            f"{f'{name}, {kept}':40} {wall:8.1f} {cpu:8.1f} {1000 * cpu / count:10.1f} "
            f"{peak:10.0f} {peak / count:10.3f}",
            flush=True,
        )
    return Looked(*first[:2], *second[:2], max(first[2], second[2]))


def hanging(folder: Path) -> None:
    """1,000 hosts, of which 20 never answer: the others are all there, and the 20 are given up on."""
    drift = [
        str(BIN / "steelyard"),
        "drift",
        "-i",
        str(folder / "silent-fleet"),
        "--deploy",
        str(FORTY / "ours.py"),
        "--json",
    ]
    wall, _, _, text = look(drift, 3)
    hosts = json.loads(text)["hosts"]
    given_up = [host for host in hosts if host["error"] and host["error"]["error"] == "HostSilent"]
    well = [host for host in hosts if host["outcome"] == "in sync"]
    print(
        f"1,000 hosts, {SILENT} silent: {len(well)} looked at, {len(given_up)} given up on after "
        f"{TIMEOUT_S} s each; {wall:.1f} s in all"
    )
    if (len(well), len(given_up)) != (1000 - SILENT, SILENT):
        sys.exit("a silent host cost another one its look")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--record", action="store_true", help="write the answers anew, from a lab host")
    parser.add_argument("--beside", type=Path, help="another checkout to measure")
    parser.add_argument("--hosts", type=int, nargs="+", default=[500, 1000, 5000], help="sizes of the fleets")
    asked = parser.parse_args()
    if asked.record:
        record()
        return
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    folder = Path(tempfile.mkdtemp())
    os.environ["XDG_CACHE_HOME"], os.environ["XDG_STATE_HOME"] = str(folder / "cache"), str(folder / "state")
    try:
        for name in ("host_key", "user_key"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
        public = (folder / "host_key.pub").read_text().split()[:2]
        known = folder / "known_hosts"
        most = max(1000, *asked.hosts)
        known.write_text("".join(f"[{address(number)}]:{PORT} {' '.join(public)}\n" for number in range(most)))
        with served(folder, asked.beside):
            figures = fleets(folder, known, sorted(asked.hosts), asked.beside)
        write_inventory(folder / "silent-fleet", 1000, folder / "user_key", known)
        with served(folder, asked.beside, [address(number * 7) for number in range(SILENT)]):
            hanging(folder)
    finally:
        shutil.rmtree(folder)
    print(json.dumps(figures))


def fleets(folder: Path, known: Path, sizes: list[int], beside: Path | None) -> dict[str, float]:
    """Looks at fleets of these sizes, and the figures of the least and the largest."""
    print(f"{'hosts':40} {'wall s':>8} {'cpu s':>8} {'ms/host':>10} {'peak MiB':>10} {'MiB/host':>10}")
    key, rows, least, most = folder / "user_key", dict[int, Looked](), sizes[0], sizes[-1]
    for count in sizes:
        inventory = write_inventory(folder / f"fleet-{count}", count, key, known)
        rows[count] = measure(f"{count}", inventory, count)
    files = write_inventory(folder / "files", most, key, known, every=1)
    of_files = measure(f"{most}, a file each", files, most)
    small, large = rows[least], rows[most]
    cost = max(large.cold_cpu_s / small.cold_cpu_s, large.warm_cpu_s / small.warm_cpu_s) * least / most
    compared = "per_host_cost_5000_vs_500" if (most, least) == (5000, 500) else f"per_host_cost_{most}_vs_{least}"
    figures = {
        compared: round(cost, 3),
        "mib_per_host": round((max(large.peak_mib, of_files.peak_mib) - small.peak_mib) / max(1, most - least), 4),
    }
    if beside is not None:
        before = measure(f"{most}, of {beside.name}", folder / f"fleet-{most}", most, beside)
        files_before = measure(f"{most}, a file each, of {beside.name}", files, most, beside)
        shapes = ((large, before), (of_files, files_before))
        figures["cold_plan_wall_vs_beside"] = round(max(now.cold_s / then.cold_s for now, then in shapes), 3)
        figures["warm_plan_wall_vs_beside"] = round(max(now.warm_s / then.warm_s for now, then in shapes), 3)
    return figures


@contextmanager
def served(folder: Path, beside: Path | None, silent: Iterable[str] = ()) -> Iterator[None]:
    """The hosts, of which some say nothing. They answer what this build asks, and the one beside it."""
    answers = json.loads(ANSWERS.read_text())
    if beside is not None:
        answers = json.loads((beside / "tests/bench/forty/answers.json").read_text()) | answers
    (folder / "answers.json").write_text(json.dumps(answers))
    (folder / "silent").write_text("\n".join(silent))
    files = [folder / name for name in ("host_key", "user_key.pub", "answers.json", "silent")]
    command = [sys.executable, str(FORTY / "answering.py"), str(PORT), *map(str, files)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        server.stdout.readline()
        yield
    finally:
        server.kill()
        server.wait()


if __name__ == "__main__":
    main()
