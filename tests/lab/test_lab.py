"""The lab itself: isolated hosts, reboot, Docker inside, two side by side, and gone without a trace from any half."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

from support.dear import dear
from support.lab_site import Site, assert_no_trace_since, shell, steelyard, traces

from steelyard.lab.nspawn.record import require_lab

TRIXIE = """\
hosts:
  - {name: deb-1, groups: [gpu], release: trixie}
  - {name: dock-1, groups: [gpu], release: trixie, docker: true, routed: true}
"""


def lab(*words: str) -> subprocess.CompletedProcess[str]:
    done = steelyard("lab", *words)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def test_up_again_leaves_running_hosts_alone(bare: Site) -> None:
    boots = [bare.sh(host, "cat /proc/sys/kernel/random/boot_id") for host in ("mirror-1", "gw-1", "gpu-1")]
    again = lab("up", "3", "--name", "test", "--inventory", str(bare.inventory))
    assert (again.returncode, "booting 0 of 3" in again.stderr) == (0, True)
    assert boots == [bare.sh(host, "cat /proc/sys/kernel/random/boot_id") for host in ("mirror-1", "gw-1", "gpu-1")]


def test_only_the_mirror_has_a_way_out(bare: Site) -> None:
    """192.0.2.1 is nobody's address: what counts is that the packets are dropped here, by the lab's rule."""
    rule = f"iptables -nvxL FORWARD | grep 'DROP.*steelyard lab {bare.lab.net.bridge} ' | awk '{{print $1}}'"
    dropped = int(shell(rule))
    outside = (
        "ip route add default via $(ip -4 -o addr show host0 | awk '{print $4}' | sed 's/[0-9]*.24$/1/') 2>/dev/null; "
    )
    asked = "timeout 5 python3 -c \"import socket; socket.create_connection(('192.0.2.1', 443), 3)\" 2>&1 | tail -1"
    assert bare.sh("gpu-1", "ip route show default") == ""
    assert "timed out" in bare.sh("gpu-1", outside + asked)  # not even with a route of its own
    assert int(shell(rule)) > dropped
    bare.sh("gpu-1", "ip route del default")
    assert (
        bare.sh("mirror-1", "apt-get update >/dev/null 2>&1; ls /var/lib/apt/lists | grep -c _Packages").strip() != "0"
    )


def test_reboot_works(bare: Site) -> None:
    asked = ("lab", "exec", "gw-1", "--name", "test", "--", "cat", "/proc/sys/kernel/random/boot_id")
    before = after = steelyard(*asked).stdout
    bare.sh("gw-1", "systemctl reboot", check=False)
    for _ in range(120):
        done = steelyard(*asked)
        after = done.stdout if done.returncode == 0 else before
        if after != before:
            break
        shell("sleep 0.5")
    assert len(after.strip()) == 36
    assert after != before
    bare.sh(
        "gw-1",
        "for n in $(seq 60); do test $(systemctl is-system-running) != starting && exit 0; sleep 0.5; done; exit 1",
    )


def test_simulated_gpus_are_named_so_and_have_their_sysfs_entries(bare: Site) -> None:
    assert "simulated GPU" in bare.sh("gpu-1", "cat /proc/driver/nvidia/version")
    assert bare.sh("gpu-1", "cat /sys/bus/pci/devices/*/vendor").split() == ["0x10de", "0x10de"]
    assert "2 x simulated GPU" in lab("status", "--name", "test").stdout


@dear(2, 3)
def test_second_lab_beside_the_first_comes_and_goes_without_a_trace(bare: Site, tmp_path: Path) -> None:
    """Debian 13, one host with Docker; then taken down half-made, with a host killed hard and a mount left over."""
    before = traces("second")
    description = tmp_path / "lab.yml"
    description.write_text(TRIXIE)
    options = (
        "--name",
        "second",
        "--inventory",
        str(tmp_path / "inventory"),
        "--description",
        str(description),
        "--no-wheels",
    )
    up = lab("up", "2", *options)
    assert up.returncode == 0, up.stderr
    second = require_lab("second", "test")
    assert second.slot != bare.lab.slot
    other = Site(second, tmp_path / "inventory")
    assert "trixie" in other.sh("deb-1", "cat /etc/os-release")
    assert other.json("plan", "--deploy", "hosts")["exit"] == 2
    install = (
        "apt-get update -q >/dev/null && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y docker.io "
        "docker-cli iptables >/dev/null"
    )
    other.sh("dock-1", install)
    image = (
        "mkdir -p /i/bin && cp /bin/sh /i/bin/ && cp --parents $(ldd /bin/sh | grep -o '/[^ ]*') /i/ && tar -c "
        "-C /i . | docker import - lab/sh"
    )
    other.sh("dock-1", image)
    assert other.sh("dock-1", "docker run --rm lab/sh /bin/sh -c 'echo from a container'").strip() == "from a container"
    os.kill(
        int((second.paths.host("deb-1") / "pid").read_text()), signal.SIGKILL
    )  # the supervisor dies, its host does not
    record = json.loads(second.paths.record.read_text())
    record["hosts"].append({**record["hosts"][0], "name": "never-made"})
    second.paths.record.write_text(json.dumps(record))
    down = lab("down", "--name", "second")
    assert down.returncode == 0, down.stderr
    assert not (tmp_path / "inventory").exists()
    assert_no_trace_since(before, "second")
    (second.paths.root / "hosts").mkdir(parents=True)  # as a `down` leaves it that is killed at its last step
    assert "there was no lab" in lab("down", "--name", "second").stderr
    assert_no_trace_since(before, "second")


def test_hosts_that_are_not_there_are_told(bare: Site) -> None:
    missing = lab("exec", "gpu-9", "--name", "test", "--", "true")
    assert (missing.returncode, "hosts: mirror-1, gw-1, gpu-1" in missing.stderr) == (4, True)
    assert lab("status", "--name", "none-such").returncode == 4
