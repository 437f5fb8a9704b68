"""The driver's life on real machines with simulated packages: upgrades, a reboot, what cannot be solved, keys,
faults.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from gpu_hosts import DRIVER, NEXT_BRANCH, NEXT_PATCH, apply, drift, plan, run, settings, write
from support.dear import dear
from support.lab_site import Site, on_host, steelyard

from steelyard.artifacts.repository_keys import fingerprints
from steelyard.lab.simulated import nvidia_repo
from steelyard.lab.simulated.nvidia_packages import UNSOLVABLE

pytestmark = [pytest.mark.hosts, dear(1, 3, "STEELYARD_HOSTS")]
GPUS = "/usr/lib/steelyard-lab/gpus.conf"


@contextmanager
def declared(site: Site, **driver: Any) -> Iterator[None]:
    """Other settings of the driver for a while; afterwards the hosts are as before."""
    everything = settings(site)
    try:
        write(site, {**everything, "nvidia_driver": {**everything["nvidia_driver"], **driver}})
        yield
    finally:
        write(site, everything)


def loaded(site: Site, host: str) -> str:
    return site.sh(host, "grep -oE '[0-9]{3}[.][0-9.]+' /proc/driver/nvidia/version | head -1").strip()


def installed(site: Site, host: str, name: str = "nvidia-driver-cuda") -> str:
    return site.sh(host, f"dpkg-query -W -f '${{db:Status-Abbrev}}${{Version}}' {name}").strip()


def boot_id(site: Site, host: str) -> str:
    return site.sh(host, "cat /proc/sys/kernel/random/boot_id").strip()


def test_another_branch_comes_by_a_reboot_with_services_drained_and_the_version_proven(gpu_site: Site) -> None:
    unit = "[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n"
    gpu_site.sh(
        "gpu-1",
        f"printf '{unit}' > /etc/systemd/system/steelyard-vllm@.service; systemctl enable --now steelyard-vllm@a",
    )
    before = boot_id(gpu_site, "gpu-1")
    with declared(gpu_site, version=NEXT_BRANCH, restart="reboot"):
        document = gpu_site.json("plan", "--deploy", "hosts", "-l", "gpu-1")
        assert "no one can look behind a reboot" in json.dumps(document["hosts"][0]["unknown"])
        apply(gpu_site, "-l", "gpu-1")
        assert boot_id(gpu_site, "gpu-1") != before
        assert (loaded(gpu_site, "gpu-1"), installed(gpu_site, "gpu-1")) == (NEXT_BRANCH, f"hi {NEXT_BRANCH}-1")
        assert gpu_site.sh("gpu-1", "systemctl is-active steelyard-vllm@a").strip() == "active"
        assert NEXT_BRANCH in gpu_site.sh("gpu-1", "cat /var/run/cdi/nvidia.yaml")
        assert plan(gpu_site, "-l", "gpu-1") == {}
    stops = gpu_site.sh("gpu-1", "grep -c 'systemctl stop.*steelyard-vllm' /var/log/steelyard/audit.log", check=False)
    assert int(stops.strip() or 0) >= 1
    gpu_site.sh("gpu-1", "systemctl disable --now steelyard-vllm@a; rm /etc/systemd/system/steelyard-vllm@.service")
    with declared(gpu_site, restart="reboot"):  # and back: a downgrade
        apply(gpu_site, "-l", "gpu-1")
    assert (loaded(gpu_site, "gpu-1"), installed(gpu_site, "gpu-1")) == (DRIVER, f"hi {DRIVER}-1")


def test_another_patch_comes_by_reloading_the_modules_and_no_reboot(gpu_site: Site) -> None:
    before = boot_id(gpu_site, "gpu-2")
    with declared(gpu_site, version=NEXT_PATCH):
        apply(gpu_site, "-l", "gpu-2")
        assert (loaded(gpu_site, "gpu-2"), boot_id(gpu_site, "gpu-2")) == (NEXT_PATCH, before)
        assert plan(gpu_site, "-l", "gpu-2") == {}
    with declared(gpu_site, restart="never"):
        refused = run(gpu_site, "apply", "--yes", "-l", "gpu-2")
        assert (refused.returncode, "GPU gate: loaded module and library" in refused.stderr) == (3, True)
        assert (installed(gpu_site, "gpu-2"), loaded(gpu_site, "gpu-2")) == (f"hi {DRIVER}-1", NEXT_PATCH)
        codes = {finding["code"] for finding in drift(gpu_site, "-l", "gpu-2")[1]}
        assert {"nvidia_driver.loaded", "nvidia_driver.one-version"} <= codes
    apply(gpu_site, "-l", "gpu-2")
    assert loaded(gpu_site, "gpu-2") == DRIVER


def test_a_set_that_apt_cannot_solve_is_refused_by_the_plan(gpu_site: Site) -> None:
    before = gpu_site.sh("gpu-1", "dpkg-query -W | sort")
    with declared(gpu_site, version=UNSOLVABLE):
        text = run(gpu_site, "plan", "-v", "-l", "gpu-1").stdout
        assert "apt cannot install the declared set" in text
        assert "libnvidia-nobody-has-this" in text
    assert gpu_site.sh("gpu-1", "dpkg-query -W | sort") == before


def test_the_same_names_of_another_origin_never_win(gpu_site: Site) -> None:
    mirror, source = gpu_site.address("mirror-1"), "/etc/apt/sources.list.d/other.list"
    line = f"deb [trusted=yes] http://{mirror}:{nvidia_repo.PORT}/other /"
    gpu_site.sh(
        "gpu-1",
        f"echo '{line}' > {source} && apt-get -q update >/dev/null && apt-mark unhold nvidia-driver-cuda libnvidia-ml1",
    )
    try:
        assert "595.99.99-1" in gpu_site.sh("gpu-1", "apt-cache madison nvidia-driver-cuda")
        assert "595.99.99" not in gpu_site.sh("gpu-1", "apt-get -s -q dist-upgrade")
        gpu_site.sh("gpu-1", "mv /etc/apt/preferences.d/50-steelyard-nvidia /root/pins")
        assert "595.99.99" in gpu_site.sh("gpu-1", "apt-get -s -q dist-upgrade")  # the pins are what keeps it out
        gpu_site.sh("gpu-1", "mv /root/pins /etc/apt/preferences.d/50-steelyard-nvidia")
    finally:
        gpu_site.sh("gpu-1", f"rm {source}; apt-get -q update >/dev/null")
    apply(gpu_site, "-l", "gpu-1")


def test_an_interrupted_install_is_finished_by_the_next_apply(gpu_site: Site) -> None:
    flag = "/usr/lib/steelyard-lab/dkms-fails"
    gpu_site.sh("gpu-2", f"touch {flag}")
    with declared(gpu_site, version=NEXT_PATCH):
        failed = run(gpu_site, "apply", "--yes", "-l", "gpu-2")
        gpu_site.sh("gpu-2", f"rm {flag}")
        assert (failed.returncode, "simulated DKMS build fails" in failed.stderr) == (3, True)
        assert loaded(gpu_site, "gpu-2") == DRIVER  # what ran goes on running
        resumed = run(gpu_site, "apply", "--yes", "--resume", "-l", "gpu-2")
        assert resumed.returncode == 0, resumed.stderr
        assert (installed(gpu_site, "gpu-2"), loaded(gpu_site, "gpu-2")) == (f"hi {NEXT_PATCH}-1", NEXT_PATCH)
    apply(gpu_site, "-l", "gpu-2")


def test_a_rotated_key_stops_until_the_new_one_is_declared(gpu_site: Site) -> None:
    key = nvidia_repo.public_key("nvidia-next")
    new = {"key_file": str(key), "key_fingerprint": fingerprints(key.read_bytes())[0]}
    nvidia_repo.sign_with("nvidia-next")
    try:
        with declared(gpu_site, version=NEXT_PATCH):
            refused = run(gpu_site, "apply", "--yes", "-l", "gpu-2")
            assert refused.returncode == 3
            assert installed(gpu_site, "gpu-2") == f"hi {DRIVER}-1"
        with declared(gpu_site, key_file=str(key)):  # the file alone, and not what it must be
            refused = run(gpu_site, "plan", "-l", "gpu-2")
            assert refused.returncode == 3
            assert f"holds {new['key_fingerprint']}, and the key must be" in refused.stderr
        with declared(gpu_site, version=NEXT_PATCH, **new):
            apply(gpu_site, "-l", "gpu-2")
            assert installed(gpu_site, "gpu-2") == f"hi {NEXT_PATCH}-1"
    finally:
        nvidia_repo.sign_with("nvidia")
    apply(gpu_site, "-l", "gpu-2")
    assert loaded(gpu_site, "gpu-2") == DRIVER


FAULTS = {
    "lost:1": ("gpu-lost", "GPU 1"),
    "init:18": ("gpu-versions", "loaded module and library"),
    "remap:0": ("gpu-remap", "GPU 0 row remapping"),
    "rma:0": ("gpu-remap", "GPU 0 row remapping"),
    "link:1=3": ("gpu-links", "GPU 1 NVLinks up"),
    "ecc:0=7": ("gpu-ecc", "GPU 0 uncorrected ECC errors"),
    "throttle:0=64": ("gpu-throttle", "GPU 0 clocks"),
    "recovery:1=2": ("gpu-recovery", "GPU 1 recovery action"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_simulated_fault_is_told_with_what_to_do_and_the_gate_refuses(gpu_site: Site, fault: str) -> None:
    code, subject = FAULTS[fault]
    gpu_site.sh("gpu-1", f"cp {GPUS} /root/gpus && echo fault={fault} >> {GPUS}")
    try:
        told = steelyard("doctor", "-i", str(gpu_site.inventory), "--hosts", "-l", "gpu-1", "--json")
        findings = [found for found in json.loads(told.stdout)["findings"] if found["host"] == "gpu-1"]
        assert told.returncode == 2
        assert [(found["code"], found["subject"]) for found in findings] == [(f"doctor.{code}", subject)]
        assert findings[0]["fix"]
        gated = run(gpu_site, "plan", "-v", "-l", "gpu-1")
        assert ("GPU gate" in gated.stdout) == (findings[0]["severity"] == "error")
    finally:
        gpu_site.sh("gpu-1", f"cp /root/gpus {GPUS}")


def test_an_nvswitch_brings_the_fabric_manager_of_exactly_the_driver_and_its_fabric_is_watched(gpu_site: Site) -> None:
    """A simulated NVSwitch on the bus; its fabric manager is held at the driver's version."""
    switch = "/usr/lib/steelyard-lab/pci/0000:40:00.0"
    gpu_site.sh(
        "gpu-2",
        (
            f"mkdir {switch} && echo 0x10de > {switch}/vendor; echo 0x22a3 > {switch}/device; echo 0x068000 > "
            f"{switch}/class"
        ),
    )
    try:
        apply(gpu_site, "-l", "gpu-2")
        assert installed(gpu_site, "gpu-2", "nvidia-fabricmanager") == f"hi {DRIVER}-1"
        assert gpu_site.sh("gpu-2", "systemctl is-active nvidia-fabricmanager").strip() == "active"
        gpu_site.sh("gpu-2", f"cp {GPUS} /root/gpus && echo fault=fabric:0 >> {GPUS}")
        codes = {finding["code"] for finding in drift(gpu_site, "-l", "gpu-2")[1]}
        assert "nvidia_driver.gpu-fabric" in codes
    finally:
        gpu_site.sh(
            "gpu-2",
            f"cp /root/gpus {GPUS}; rm -r {switch}; apt-mark unhold nvidia-fabricmanager libnvidia-nscq; "
            "apt-get -q -y purge nvidia-fabricmanager libnvidia-nscq",
        )
    apply(gpu_site, "-l", "gpu-2")


def test_settings_of_gpus_are_set_now_and_again_at_every_boot(gpu_site: Site) -> None:
    with declared(gpu_site, settings={"power_limit_w": 500, "compute_mode": "exclusive-process"}):
        apply(gpu_site, "-l", "gpu-1")
        assert gpu_site.sh("gpu-1", f"grep -c 'power_limit 500' {GPUS}").strip() in ("2", "4")
        assert plan(gpu_site, "-l", "gpu-1") == {}
    with declared(gpu_site, settings={"power_limit_w": 900}):
        assert "takes a power limit of 200 to 700 W" in run(gpu_site, "plan", "-v", "-l", "gpu-1").stdout
    gpu_site.sh("gpu-1", f"sed -i /^set=/d {GPUS}")
    apply(gpu_site, "-l", "gpu-1")


def test_a_gpu_in_mig_mode_is_cut_described_and_cut_again_at_boot(gpu_site: Site) -> None:
    """Instances are lost at a reboot: the unit makes them before the description of the GPUs is written."""
    asked = "/usr/lib/steelyard/steelyard-host.pyz gpu-health"

    def instances() -> list[str]:
        device = json.loads(gpu_site.sh("gpu-1", f"python3 -I {asked}"))["devices"][0]
        return [instance["profile"] for instance in device["mig_layout"] or ()]

    gpu_site.sh("gpu-1", f"cp {GPUS} /root/gpus-before-mig")
    try:
        with declared(gpu_site, settings={"mig": True, "mig_layout": ["3g.40gb", "2g.20gb"]}):
            apply(gpu_site, "-l", "gpu-1")
            assert instances() == ["3g.40gb", "2g.20gb"]
            assert "0:1" in gpu_site.sh("gpu-1", "cat /var/run/cdi/nvidia.yaml")
            assert plan(gpu_site, "-l", "gpu-1") == {}
            gpu_site.sh("gpu-1", f"echo 'set=0 ci- 1' >> {GPUS}; echo 'set=0 gi- 1' >> {GPUS}")
            assert "nvidia_driver.set-the-gpus" in {finding["code"] for finding in drift(gpu_site, "-l", "gpu-1")[1]}
            apply(gpu_site, "-l", "gpu-1")
            assert instances() == ["3g.40gb", "2g.20gb"]
            gpu_site.sh(
                "gpu-1", f"sed -i /^set=/d {GPUS}; systemctl restart steelyard-gpu-settings"
            )  # what a boot does
            assert instances() == ["3g.40gb", "2g.20gb"]
        with declared(gpu_site, settings={"mig_layout": ["3g.40gb"]}):
            refused = run(gpu_site, "plan", "-l", "gpu-1")
            assert refused.returncode == 1
            assert "a `mig_layout` needs `mig: true`" in refused.stderr
    finally:
        gpu_site.sh("gpu-1", f"cp /root/gpus-before-mig {GPUS}")
    apply(gpu_site, "-l", "gpu-1")


def test_a_host_that_does_not_come_back_stops_its_wave(gpu_site: Site) -> None:
    gpu_site.sh("gpu-1", "systemctl disable ssh.service ssh.socket 2>/dev/null; true")
    try:
        with declared(gpu_site, version=NEXT_PATCH, restart="reboot", reboot_wait_s=30):
            stopped = run(gpu_site, "apply", "--yes", "-l", "gpu-1,gpu-2", "--serial", "1")
            assert stopped.returncode == 3
            assert "gpu-1: not back 30 s after its reboot" in stopped.stderr
            assert (installed(gpu_site, "gpu-2"), loaded(gpu_site, "gpu-2")) == (f"hi {DRIVER}-1", DRIVER)
    finally:
        on_host(gpu_site, "gpu-1", "systemctl enable --now ssh.service")
    subprocess.run(["sleep", "1"], check=True)
    apply(gpu_site, "-l", "gpu-1")
    assert loaded(gpu_site, "gpu-1") == DRIVER
