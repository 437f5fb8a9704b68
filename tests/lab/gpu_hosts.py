"""The lab of the GPU host tests: a mirror with simulated NVIDIA repositories, two hosts with Docker, one without a GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from conftest import Site, steelyard

from steelyard.lab import nvidia_repo
from steelyard.lab.record import require_lab
from steelyard.openpgp import fingerprints

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
        "nvidia_driver": {"version": DRIVER, "url": f"http://{mirror}:{nvidia_repo.PORT}/{{distro}}/{{arch}}", **signed},
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
    site = Site(require_lab(NAME, "test"), inventory)
    write(site, settings(site))
    return site
