"""Roles of GPU hosts on real machines: applied twice, then harmed one thing at a time; each harm is found and
mended.
"""

from __future__ import annotations

import pytest
from gpu_hosts import COUNTED, PROBE, assert_drifts, drift, plan, run
from support.dear import dear
from support.lab_site import Site

pytestmark = [pytest.mark.hosts, dear(1, 3, "STEELYARD_HOSTS")]
CLEAN = ("mirror-1", "gpu-1", "gpu-2")


def test_second_run_changes_nothing(gpu_site: Site) -> None:
    answer = gpu_site.json("apply", "--deploy", "hosts", "--yes")
    COUNTED.second_run = sum(len(host["tasks"]) for host in answer["hosts"])
    assert (answer["exit"], COUNTED.second_run) == (0, 0)
    assert plan(gpu_site) == {}


def test_hosts_in_sync_have_no_findings_but_the_one_without_a_gpu(gpu_site: Site) -> None:
    ended, findings = drift(gpu_site)
    assert ended == 2
    assert {(finding["host"], finding["code"]) for finding in findings} == {
        ("bare-1", "nvidia_driver.loaded"),
        ("bare-1", "unknown.loaded"),
    }
    loaded = next(finding for finding in findings if finding["code"] == "nvidia_driver.loaded")
    assert loaded["live"] == "installed; no GPU on the PCI bus, so the module is not loaded"
    assert gpu_site.sh("bare-1", "dpkg-query -W -f '${Version}' nvidia-kernel-dkms").startswith("550.163.01-")


def test_base_and_package_mirror(gpu_site: Site) -> None:
    assert_drifts(
        gpu_site,
        "base",
        {
            ("gpu-1", "chmod 2777 /etc/steelyard"): "base.make-the-configuration-folder",
            (
                "gpu-2",
                "echo '* hard nofile 4096' > /etc/security/limits.d/50-steelyard.conf",
            ): "base.set-the-limit-of-open-files",
            ("gpu-2", "usermod -s /bin/sh steelyard-engine"): "base.make-the-engine-account",
            ("gpu-1", "chgrp daemon /etc/steelyard/services"): "base.make-the-folder-of-services",
            ("gpu-1", "echo >> /usr/lib/steelyard/steelyard-host.pyz"): "base.install-the-host-helper",
        },
    )
    assert_drifts(
        gpu_site,
        "package_mirror",
        {
            ("mirror-1", "systemctl stop apt-cacher-ng"): "package_mirror.run-the-apt-cache",
            ("mirror-1", "rm -r /srv/steelyard/wheels/simple"): "package_mirror.index-the-wheels",
            (
                "mirror-1",
                "echo '#' >> /etc/nginx/conf.d/steelyard-wheels.conf",
            ): "package_mirror.configure-the-wheel-server",
            ("gpu-1", "echo > /etc/pip.conf"): "package_client.point-pip-at-the-mirror",
            ("gpu-2", "rm /etc/apt/apt.conf.d/01steelyard-mirror"): "package_client.point-apt-at-the-mirror",
        },
    )


def test_nvidia_driver(gpu_site: Site) -> None:
    older = (
        "sed -i s/580.95.05/570.86.15/ /usr/lib/steelyard-lab/driver/nvidia/version /usr/lib/steelyard-lab/gpus.conf"
    )
    assert_drifts(
        gpu_site,
        "nvidia_driver",
        {
            ("gpu-1", "apt-mark unhold nvidia-driver-cuda libnvidia-ml1"): "nvidia_driver.hold-the-driver",
            ("gpu-2", "sed -i s/1001/100/ /etc/apt/preferences.d/50-steelyard-nvidia"): "nvidia_driver.pin-the-version",
            ("gpu-1", "rm /etc/modprobe.d/steelyard-nouveau.conf"): "nvidia_driver.keep-nouveau-away",
            ("gpu-2", "rm /etc/apt/apt.conf.d/51steelyard-nvidia"): "nvidia_driver.keep-unattended-upgrades-away",
            ("gpu-1", "systemctl stop nvidia-persistenced"): "nvidia_driver.run-the-persistence-daemon",
            (
                "gpu-2",
                "dpkg --force-depends --force-remove-protected -r nvidia-persistenced",
            ): "nvidia_driver.install-the-driver",
            ("gpu-1", "echo 'set=1 persistence 0' >> /usr/lib/steelyard-lab/gpus.conf"): "nvidia_driver.set-the-gpus",
            ("gpu-2", older): "nvidia_driver.load-the-driver",
        },
    )


def test_nvidia_toolkit(gpu_site: Site) -> None:
    assert_drifts(
        gpu_site,
        "nvidia_toolkit",
        {
            ("gpu-1", "sed -i s/580.95.05/575.51.03/ /var/run/cdi/nvidia.yaml"): "nvidia_toolkit.describe-the-gpus",
            ("gpu-2", "rm /var/run/cdi/nvidia.yaml"): "nvidia_toolkit.describe-the-gpus",
            ("gpu-1", "mkdir -p /etc/cdi && cp /var/run/cdi/nvidia.yaml /etc/cdi/"): "nvidia_toolkit.describe-the-gpus",
            ("gpu-2", "apt-mark unhold nvidia-container-toolkit-base"): "nvidia_toolkit.hold-the-toolkit",
            ("gpu-1", "systemctl disable steelyard-cdi"): "nvidia_toolkit.describe-the-gpus-at-every-boot",
            ("gpu-2", "rm /etc/apt/preferences.d/50-steelyard-nvidia-container"): "nvidia_toolkit.pin-the-version",
        },
    )


def test_docker(gpu_site: Site) -> None:
    """Among them a daemon that was told something else than its file says, and a file that says else than the
    daemon.
    """
    edited = 'sed -i \'s/"live-restore": true/"live-restore": false/\' /etc/docker/daemon.json'
    loaded = (
        "for n in $(seq 50); do docker info --format '{{.LiveRestoreEnabled}}' | grep -q false && break; sleep "
        "0.1; done"
    )
    assert_drifts(
        gpu_site,
        "docker",
        {
            ("gpu-1", edited): "docker.configure-the-daemon",
            (
                "gpu-2",
                f"cp /etc/docker/daemon.json /root/kept && {edited} && systemctl reload docker && {loaded}; "
                "cp /root/kept /etc/docker/daemon.json",
            ): "docker.configure-the-daemon",
            ("gpu-1", "systemctl stop docker.socket docker.service"): "docker.run-the-daemon",
            ("gpu-2", "systemctl disable docker.service"): "docker.run-the-daemon",
            ("gpu-1", "echo >> /etc/systemd/system/docker.service.d/50-steelyard.conf"): "docker.stamp-the-daemon",
            ("gpu-2", "sed -i s/enable_cdi/other/ /etc/containerd/config.toml"): "docker.configure-containerd",
        },
    )


def test_registry_mirror(gpu_site: Site) -> None:
    env = "/etc/steelyard/registries/hub.env"
    assert_drifts(
        gpu_site,
        "registry_mirror",
        {
            ("mirror-1", "systemctl stop steelyard-registry@pushed"): "registry_mirror.run-a-registry",
            ("mirror-1", "echo '#' >> /etc/steelyard/registries/hub.yml"): "registry_mirror.configure-a-registry",
            (
                "mirror-1",
                (
                    f"cp {env} /root/env; sed -i s/CONFIG=.*/CONFIG=old/ {env}; systemctl restart "
                    f"steelyard-registry@hub; cp /root/env {env}"
                ),
            ): "registry_mirror.run-a-registry",
            ("mirror-1", "systemctl disable --now steelyard-registry-gc@hub.timer"): "registry_mirror.collect-nightly",
            ("mirror-1", "rm /usr/lib/steelyard/registry-gc"): "registry_mirror.install-registry-gc",
            (
                "gpu-1",
                "rm /etc/containers/registries.conf.d/50-steelyard.conf",
            ): "registry_client.point-podman-at-the-mirrors",
            (
                "gpu-2",
                "echo >> /etc/containerd/certs.d/docker.io/hosts.toml",
            ): "registry_client.point-containerd-at-the-mirrors",
        },
    )


def test_a_mirror_that_lost_its_image_is_a_finding_of_every_client(gpu_site: Site) -> None:
    """No apply mends it, and every client would go to the upstream in silence."""
    gpu_site.sh("mirror-1", "systemctl stop steelyard-registry@hub")
    _, findings = drift(gpu_site, "-l", "gpu")
    told = [finding for finding in findings if finding["code"] == "registry_client.mirror-serves"]
    assert [finding["host"] for finding in told] == ["bare-1", "gpu-1", "gpu-2"]
    assert all("fall through to the upstream" in finding["live"] for finding in told)
    assert PROBE in told[0]["fix"]
    assert run(gpu_site, "apply", "--yes", "-l", "mirror").returncode == 0
    assert drift(gpu_site, "-l", "gpu-1,gpu-2") == (0, [])
