"""The lab of the GPU host tests: a mirror with simulated NVIDIA repositories, two hosts with Docker, one without a
GPU.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from support.lab_site import Site, own_wheels, steelyard

from steelyard.artifacts.repository_keys import fingerprints
from steelyard.lab.nspawn.record import require_lab
from steelyard.lab.simulated import nvidia_repo

NAME = "hosts"
DESCRIPTION = Path(__file__).parent / "gpu_hosts.yml"
PROBE = "library/simulated:1"
DRIVER, NEXT_PATCH, NEXT_BRANCH = "580.95.05", "580.105.08", "590.44.01"
TOOLKIT = "1.17.8"


def settings(site: Site) -> dict[str, Any]:
    """What the tests begin with; each changes a part of it and puts it back."""
    mirror = site.address("mirror-1")
    key = nvidia_repo.public_key()
    signed = {"key_file": str(key), "key_fingerprint": fingerprints(key.read_bytes())[0]}
    return {
        "nvidia_driver": {
            "version": DRIVER,
            "url": f"http://{mirror}:{nvidia_repo.PORT}/{{distro}}/{{arch}}",
            **signed,
        },
        "nvidia_toolkit": {"version": TOOLKIT, "url": f"http://{mirror}:{nvidia_repo.PORT}/toolkit", **signed},
        "docker": {"source": "distro"},
        "registry_mirror": {
            "registries": {
                "pushed": {"port": 5000},
                "hub": {"port": 5001, "serves": "docker.io", "upstream": f"http://{mirror}:5000", "probe": PROBE},
            },
            "clients": ["podman", "containerd"],
        },
    }


def write(site: Site, found: dict[str, Any]) -> None:
    everybody = site.inventory / "group_vars/all"
    (everybody / "gpu_hosts.yml").write_text(yaml.safe_dump(found))
    for name in ("models.yml", "roles.yml"):
        (everybody / name).write_text("models: {}\n" if name == "models.yml" else "{}\n")
    bare = {"nvidia_driver": {"version": "550.163.01", "source": "distro"}, "nvidia_toolkit": {}, "docker": {}}
    (site.inventory / "host_vars").mkdir(exist_ok=True)
    (site.inventory / "host_vars/mirror-1.yml").write_text("docker: {}\n")
    (site.inventory / "host_vars/bare-1.yml").write_text(yaml.safe_dump(bare))


def boot(inventory: Path) -> Site:
    """The lab, bare or from kept layers, with its inventory."""
    steelyard("lab", "down", "--name", NAME)
    up = steelyard("lab", "up", "4", "--name", NAME, "--inventory", str(inventory), "--description", str(DESCRIPTION))
    assert up.returncode == 0, up.stderr
    own_wheels()
    site = Site(require_lab(NAME, "test"), inventory)
    write(site, settings(site))
    return site


@dataclass
class Counted:
    """What a run of the GPU host tests saw."""

    roles: set[str] = field(default_factory=set)
    injected: int = 0
    found: int = 0
    second_run: int | None = None

    def figures(self) -> dict[str, int | None]:
        return {
            "roles": len(self.roles),
            "drifts_injected": self.injected,
            "drifts_found": self.found,
            "second_run_changes": self.second_run,
        }


COUNTED = Counted()


def apply(site: Site, *words: str) -> None:
    done = run(site, "apply", "--yes", *words)
    assert done.returncode == 0, done.stdout + done.stderr


def run(site: Site, command: str, *words: str) -> subprocess.CompletedProcess[str]:
    done = steelyard(command, "-i", str(site.inventory), "--deploy", "hosts", *words)
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    return done


def plan(site: Site, *words: str) -> dict[str, list[str]]:
    """Codes of the tasks that would change, by host."""
    answer = site.json("plan", "--deploy", "hosts", *words)
    assert [host["error"] for host in answer["hosts"] if host["error"]] == []
    return {host["host"]: [task["code"] for task in host["tasks"]] for host in answer["hosts"] if host["tasks"]}


def drift(site: Site, *words: str) -> tuple[int, list[dict[str, str]]]:
    """Exit code and findings."""
    answer = site.json("drift", "--deploy", "hosts", *words)
    return answer["exit"], answer["findings"]


def ready(inventory: Path) -> Site:
    """Booted and applied. What comes from Debian is installed once and kept; what is simulated is installed every
    time.
    """
    site = boot(inventory)
    if any(machine.lacks_layer for machine in site.lab.machines):
        write(site, {key: value for key, value in settings(site).items() if not key.startswith("nvidia")})
        apply(site)
        for host in ("gpu-1", "gpu-2"):
            site.sh(host, "DEBIAN_FRONTEND=noninteractive apt-get -q -y install busybox-static >/dev/null")
        apply_preflight(site)
        # all of them: another lab may have saved the mirror's, without what these tests install there
        for host in (machine.host.name for machine in site.lab.machines):
            assert steelyard("lab", "snapshot", host, "--name", NAME).returncode == 0
        site = boot(inventory)
    apply(site)
    push_image(site)
    return site


def apply_preflight(site: Site) -> None:
    done = steelyard("apply", "-i", str(site.inventory), "--deploy", "preflight", "--yes")
    assert done.returncode == 0, done.stdout + done.stderr


def push_image(site: Site) -> None:
    """One small image that runs, into the registry that takes pushes; the other one pulls it through."""
    target = f"{site.address('mirror-1')}:5000/{PROBE}"
    site.sh(
        "gpu-1",
        "docker image inspect simulated:1 >/dev/null 2>&1 || { mkdir -p /root/i/bin && cp /bin/busybox /root/i/bin/ && "
        'tar -C /root/i -c . | docker import --change \'CMD ["/bin/busybox","sleep","100000"]\' - '
        "simulated:1 >/dev/null; } && "
        f"docker tag simulated:1 {target} && docker push -q {target}",
    )


def assert_drifts(site: Site, role: str, harms: dict[tuple[str, str], str]) -> None:
    """`harms` maps (host, shell command that does harm) to the code that must report it; each is found, mended and
    gone.
    """
    COUNTED.roles.add(role)
    for (host, harm), code in harms.items():
        site.sh(host, harm)
        COUNTED.injected += 1
        ended, findings = drift(site, "-l", host)
        codes = [finding["code"] for finding in findings]
        assert ended == 2, f"after {harm!r}"
        assert code in codes, f"after {harm!r}: {findings}"
        COUNTED.found += 1
        apply(site, "-l", host)
    for host in sorted({host for host, _ in harms}):
        assert drift(site, "-l", host) == (0, []), f"a harm of {role} came back"
