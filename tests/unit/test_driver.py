"""The driver's packages on every distribution, what activates it, and whose key a repository may have."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from steelyard.artifacts.repository_keys import dearmoured, fingerprints, trusted_key
from steelyard.errors import KeyNotTrusted
from steelyard.hardware.gpu_generations import Flavour
from steelyard.modules.facts.cdi import CdiSpec, CdiState
from steelyard.modules.facts.driver import DriverState, NvidiaDevice
from steelyard.modules.operations.apt import matches
from steelyard.modules.operations.cdi import staleness
from steelyard.modules.operations.driver import Reboot, activation, reload_script
from steelyard.roles.nvidia_driver.packages import headers, packages, repository_name

GPU = (NvidiaDevice("0000:18:00.0", 0x2330),)
OPEN, CLOSED = Flavour.OPEN, Flavour.PROPRIETARY


@pytest.mark.parametrize(
    ("distro", "release", "source", "version", "flavour", "switched", "names"),
    [
        (
            "debian",
            "12",
            "cuda",
            "580.95.05",
            OPEN,
            False,
            "nvidia-driver-cuda nvidia-kernel-open-dkms nvidia-persistenced",
        ),
        (
            "debian",
            "13",
            "cuda",
            "590.44.01",
            CLOSED,
            False,
            "nvidia-driver-cuda nvidia-kernel-dkms nvidia-persistenced",
        ),
        (
            "debian",
            "13",
            "distro",
            "550.163.01",
            CLOSED,
            False,
            "nvidia-kernel-dkms libcuda1 nvidia-smi nvidia-persistenced",
        ),
        (
            "ubuntu",
            "22.04",
            "cuda",
            "580.95.05",
            OPEN,
            True,
            (
                "libnvidia-compute-580 nvidia-dkms-580-open nvidia-utils-580 nvidia-compute-utils-580 "
                "nvidia-fabricmanager libnvidia-nscq"
            ),
        ),
        (
            "ubuntu",
            "24.04",
            "cuda",
            "590.44.01",
            OPEN,
            False,
            "libnvidia-compute nvidia-dkms-open nvidia-utils nvidia-compute-utils",
        ),
        (
            "ubuntu",
            "24.04",
            "cuda",
            "575.51.03",
            OPEN,
            True,
            (
                "libnvidia-compute-575 nvidia-dkms-575-open nvidia-utils-575 nvidia-compute-utils-575 "
                "nvidia-fabricmanager-575 libnvidia-nscq-575"
            ),
        ),
        (
            "ubuntu",
            "24.04",
            "distro",
            "570.172.08",
            OPEN,
            False,
            "nvidia-headless-570-server-open nvidia-utils-570-server nvidia-compute-utils-570-server",
        ),
        (
            "rocky",
            "9",
            "cuda",
            "580.95.05",
            OPEN,
            False,
            "nvidia-driver-cuda kmod-nvidia-open-dkms nvidia-persistenced",
        ),
    ],
)
def test_packages(
    distro: str, release: str, source: str, version: str, flavour: Flavour, switched: bool, names: str
) -> None:
    found = packages(distro, release, source, version, flavour, switched, False)
    assert (" ".join([*found.driver, *found.fabric]), found.problem) == (names, "")
    assert {each for each in [*found.driver.values(), *found.fabric.values()] if each} == {version}


def test_packages_that_there_are_not_are_said_so() -> None:
    assert "is not supported" in packages("debian", "11", "cuda", "580.95.05", OPEN, False, False).problem
    assert "no Fabric Manager" in packages("debian", "13", "distro", "550.163.01", OPEN, True, False).problem
    assert "no NVIDIA driver of its own" in packages("rhel", "9", "distro", "580.95.05", OPEN, False, False).problem
    assert packages("rhel", "8", "cuda", "580.95.05", OPEN, False, False).stream == "nvidia-driver:580-open"
    assert repository_name("ubuntu", "24.04"), repository_name("almalinux", "9") == ("ubuntu2404", "rhel9")


def test_headers_are_the_meta_beside_the_image_meta_and_those_of_bare_kernels() -> None:
    assert headers(("linux-image-amd64", "linux-image-amd64-dbg"), ("6.1.0-29-amd64",), "debian") == (
        "linux-headers-6.1.0-29-amd64",
        "linux-headers-amd64",
    )
    assert headers((), ("5.14.0-427.el9.x86_64",), "rhel") == ("kernel-devel-5.14.0-427.el9.x86_64",)


@pytest.mark.parametrize(
    ("now", "restart", "kinds"),
    [
        (DriverState(on_disk="590.44.01"), "reboot", []),  # no GPU: nothing to load
        (DriverState(devices=GPU), "reload", []),  # nothing installed yet
        (DriverState("590.44.01", on_disk="590.44.01", devices=GPU), "reboot", []),
        (DriverState(on_disk="590.44.01", devices=GPU), "never", ["Change"]),  # a first load disturbs nobody
        (DriverState("580.95.05", on_disk="590.44.01", devices=GPU), "never", []),
        (DriverState("580.95.05", on_disk="590.44.01", devices=GPU), "reload", ["Change"]),
        (DriverState("580.95.05", on_disk="590.44.01", devices=GPU), "reboot", ["Change", "Reboot", "Change"]),
        (DriverState(on_disk="590.44.01", devices=GPU, nouveau=True), "reload", ["Refusal"]),
        (DriverState(on_disk="590.44.01", devices=GPU, nouveau=True), "reboot", ["Change", "Reboot", "Change"]),
    ],
)
def test_activation_goes_no_further_than_it_may(now: DriverState, restart: str, kinds: list[str]) -> None:
    found = activation("590.44.01", restart, ("steelyard-vllm@*.service",), 900, now)
    assert [type(command).__name__ for command in found] == kinds
    if "Reboot" in kinds:
        reboot = found[1]
        assert isinstance(reboot, Reboot)
        assert (reboot.seconds, reboot.declared) == (900, "590.44.01 loaded")


@pytest.mark.parametrize(("loads", "exit_code"), [(0, 0), (1, 1)])
def test_what_a_reload_stops_is_started_again_whether_it_went_well_or_not(
    tmp_path: Path, loads: int, exit_code: int
) -> None:
    log = tmp_path / "log"
    listed = "steelyard-vllm@a.service loaded active running x\nnvidia-persistenced.service loaded active running x"
    stubs = {
        "systemctl": f'case $1 in list-units) printf "{listed}\\n";; *) echo "$@" >>{log};; esac',
        "modprobe": f'echo modprobe "$@" >>{log}; exit {loads}',
        "rmmod": f'echo rmmod "$@" >>{log}',
    }
    for name, text in stubs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    script = reload_script(("steelyard-vllm@*.service",))
    done = subprocess.run(["sh", "-c", script], env={"PATH": f"{tmp_path}:/usr/bin:/bin"})
    lines = [line for line in log.read_text().splitlines() if not line.startswith("rmmod")]
    assert done.returncode == exit_code
    assert lines[0] == "stop steelyard-vllm@a.service nvidia-persistenced.service"
    assert lines[-2:] == ["start steelyard-vllm@a.service", "start nvidia-persistenced.service"]


def test_versions_match_by_packaging_and_not_by_prefix() -> None:
    assert matches("580.95.05-1", "580.95.05")
    assert matches("580.95.05-0ubuntu1", "580.95.05")
    assert matches("1:580.95.05-1", "580.95.05")
    assert not matches("580.95.050-1", "580.95.05")


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        (None, "missing"),
        (CdiSpec("/var/run/cdi/nvidia.yaml", ("580.95.05",), (), 1), None),
        (CdiSpec("/var/run/cdi/nvidia.yaml", ("570.86.15",), (), 1), "of driver 570.86.15, and 580.95.05 is loaded"),
        (
            CdiSpec("/var/run/cdi/nvidia.yaml", ("580.95.05",), ("/usr/lib/x.so",), 1),
            "names 1 files that are gone, such as /usr/lib/x.so",
        ),
        (CdiSpec("/var/run/cdi/nvidia.yaml", (), (), 8), "has 8 GPUs and instances, and the host has 1"),
    ],
)
def test_a_description_is_fresh_only_if_it_is_of_the_loaded_driver(spec: CdiSpec | None, why: str | None) -> None:
    now = CdiState((spec,) if spec else ())
    assert staleness(now, DriverState("580.95.05", devices=GPU), 1) == why


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    """A key made by gpg: binary, armoured, and its fingerprint as gpg says it."""
    home = tmp_path_factory.mktemp("gpg")
    home.chmod(0o700)

    def gpg(*words: str) -> str:
        words = ("gpg", "--homedir", str(home), "--batch", "--quiet", "--passphrase", "", *words)
        return subprocess.run(words, check=True, capture_output=True, text=True).stdout

    gpg("--quick-gen-key", "test <test@example.org>", "ed25519", "sign", "never")
    gpg("--output", str(home / "key.gpg"), "--export")
    gpg("--output", str(home / "key.asc"), "--armor", "--export")
    line = next(line for line in gpg("--with-colons", "--list-keys").splitlines() if line.startswith("fpr"))
    return home / "key.gpg", home / "key.asc", line.split(":")[9]


def test_fingerprints_are_those_that_gpg_says(keys: tuple[Path, Path, str]) -> None:
    binary, armoured, fingerprint = keys
    assert fingerprints(binary.read_bytes()) == (fingerprint,)
    assert fingerprints(armoured.read_bytes()) == (fingerprint,)
    assert dearmoured(armoured.read_bytes()) == binary.read_bytes()
    assert trusted_key(str(binary), fingerprint, "x.key_file", "") == binary.read_bytes()


def test_another_key_or_none_is_refused(keys: tuple[Path, Path, str], tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_bytes(b"<html>not found</html>")
    short = tmp_path / "short"
    short.write_bytes(keys[0].read_bytes()[:20])
    for path, found in (
        (keys[0], keys[2]),
        (broken, "no OpenPGP key"),
        (short, "cut short"),
        (tmp_path / "none", "No such file"),
    ):
        with pytest.raises(KeyNotTrusted) as caught:
            trusted_key(str(path), "0" * 40, "nvidia_driver.key_file", "")
        assert found in str(caught.value)
