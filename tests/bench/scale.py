"""Looks at a simulated fleet of 500, 1,000 and 5,000 hosts: inventory, settings, SSH, facts, plan, report.

`make bench-scale`. The hosts are simulated by one SSH server of ours (`forty/answering.py`) that answers the recorded
facts of a real lab host at as many loopback addresses; all else is the real path, logins and key exchange included. The
server's CPU is not counted. A second look has 20 hosts that let us in and then say nothing. The last line is one JSON
object with the figures of the design, section 12. `--record` writes the answers anew from a lab host.
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
from pathlib import Path

import yaml

HERE = Path(__file__).parent
FORTY = HERE / "forty"
ANSWERS = FORTY / "answers.json"
BIN = Path(sys.executable).parent
PORT = 2298
SILENT = 20
TIMEOUT_S = 10


def address(number: int) -> str:
    return f"127.{10 + number // 62500}.{number // 250 % 250}.{1 + number % 250}"


def write_inventory(folder: Path, count: int, key: Path, known: Path) -> Path:
    """Ten racks with group variables, host variables for one host in ten: as a large site has them."""
    racks: dict[str, dict[str, dict[str, dict[str, str]]]] = {}
    for number in range(count):
        rack = racks.setdefault(f"rack{number % 10}", {"hosts": {}})
        rack["hosts"][f"gpu-{number + 1}"] = {"ansible_host": address(number)}
    shared = {
        "ansible_user": "ops", "ansible_port": PORT, "ansible_become": True, "ansible_ssh_private_key_file": str(key),
        "ansible_ssh_common_args": f"-o UserKnownHostsFile={known} -o StrictHostKeyChecking=yes",
        "steelyard_timeout_s": TIMEOUT_S, "base": {"open_files": 65536},
    }  # fmt: skip
    folder.mkdir()
    (folder / "hosts.yml").write_text(yaml.safe_dump({"all": {"children": {"gpu": {"children": racks}}}}))
    (folder / "group_vars").mkdir()
    (folder / "group_vars" / "all.yml").write_text(yaml.safe_dump(shared))
    for rack in range(10):
        (folder / "group_vars" / f"rack{rack}.yml").write_text(f"mtu: {1500 + rack}\n")
    (folder / "host_vars").mkdir()
    for number in range(0, count, 10):
        (folder / "host_vars" / f"gpu-{number + 1}.yml").write_text("mtu: 9000\n")
    return folder


def look(command: list[str], expected: int) -> tuple[float, float, float, str]:
    """Wall and CPU seconds, peak MiB and output of one command."""
    before, began = os.times(), time.monotonic()
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.PIPE, cwd=HERE.parent.parent)
        err = (process.stderr.read() if process.stderr else b"").decode(errors="replace")
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        text = out.read()
    if process.returncode != expected:
        sys.exit(f"{' '.join(command)}: exit {process.returncode}\n{err[-2000:]}\n{text[-2000:]}")
    del before
    return time.monotonic() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, text


def record() -> None:
    """Ask a real lab host, provisioned with the forty tasks, everything that a look asks."""
    from steelyard.cache import cache_folder
    from steelyard.lab import fleet, spec
    from steelyard.lab.login import ssh_command
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


def measure(folder: Path, count: int, key: Path, known: Path) -> tuple[float, float, float]:
    """CPU seconds and peak MiB of a first look (nothing kept) and CPU of a second one."""
    inventory = write_inventory(folder / f"fleet-{count}", count, key, known)
    drift = [str(BIN / "steelyard"), "drift", "-i", str(inventory), "--deploy", str(FORTY / "ours.py"), "--json", "--report",
             f"junit:{folder}/junit.xml"]  # fmt: skip
    plan = [str(BIN / "steelyard"), "plan", "-i", str(inventory), "--deploy", str(FORTY / "ours.py")]
    first = look(drift, 0)
    assert len(json.loads(first[3])["hosts"]) == count
    second = look(plan, 0)
    for name, (wall, cpu, peak, _) in (("drift, nothing kept", first), ("plan, kept inventory", second)):
        print(
            f"{count:6} {name:22} {wall:8.1f} {cpu:8.1f} {1000 * cpu / count:10.1f} {peak:10.0f} {peak / count:10.3f}",
            flush=True,
        )
    return first[1], second[1], max(first[2], second[2])


def hanging(folder: Path, key: Path, known: Path) -> None:
    """1,000 hosts, of which 20 never answer: the others are all there, and the 20 are given up on."""
    drift = [str(BIN / "steelyard"), "drift", "-i", str(folder / "fleet-1000"), "--deploy", str(FORTY / "ours.py"), "--json"]
    wall, _, _, text = look(drift, 3)
    hosts = json.loads(text)["hosts"]
    given_up = [host for host in hosts if host["error"] and host["error"]["error"] == "HostSilent"]
    well = [host for host in hosts if host["outcome"] == "in sync"]
    print(
        f"1,000 hosts, {SILENT} silent: {len(well)} looked at, {len(given_up)} given up on after {TIMEOUT_S} s each; {wall:.1f} s in all"
    )
    if (len(well), len(given_up)) != (1000 - SILENT, SILENT):
        sys.exit("a silent host cost another one its look")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--record", action="store_true", help="write the answers anew, from a lab host")
    if parser.parse_args().record:
        record()
        return
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    folder = Path(tempfile.mkdtemp())
    os.environ["XDG_CACHE_HOME"], os.environ["XDG_STATE_HOME"] = str(folder / "cache"), str(folder / "state")
    server = None
    try:
        for name in ("host_key", "user_key"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
        public = (folder / "host_key.pub").read_text().split()[:2]
        known = folder / "known_hosts"
        known.write_text("".join(f"[{address(number)}]:{PORT} {' '.join(public)}\n" for number in range(5000)))
        silent = folder / "silent"
        silent.write_text("")
        arguments = [str(PORT), str(folder / "host_key"), str(folder / "user_key.pub"), str(ANSWERS), str(silent)]

        def serve() -> subprocess.Popen[str]:
            started = subprocess.Popen(
                [sys.executable, str(FORTY / "answering.py"), *arguments], stdout=subprocess.PIPE, text=True
            )
            assert started.stdout is not None
            started.stdout.readline()
            return started

        server = serve()
        print(f"{'hosts':>6} {'':22} {'wall s':>8} {'cpu s':>8} {'ms/host':>10} {'peak MiB':>10} {'MiB/host':>10}")
        rows = {count: measure(folder, count, folder / "user_key", known) for count in (500, 1000, 5000)}
        server.kill()
        server.wait()
        silent.write_text("\n".join(address(number * 7) for number in range(SILENT)))
        server = serve()
        hanging(folder, folder / "user_key", known)
    finally:
        if server is not None:
            server.kill()
        shutil.rmtree(folder)
    cost = max((rows[5000][which] / 5000) / (rows[500][which] / 500) for which in (0, 1))
    memory = (rows[5000][2] - rows[500][2]) / 4500
    print(json.dumps({"per_host_cost_5000_vs_500": round(cost, 3), "mib_per_host": round(memory, 4)}))


if __name__ == "__main__":
    main()
