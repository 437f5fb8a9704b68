"""What is known of GPUs beforehand, and what their answers mean."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from steelyard.hardware.gpu_generations import Flavour, choose, generation
from steelyard.hardware.gpu_health import GpuProblem, gpu_problems
from steelyard.hardware.xids import ACTIONS, Action
from steelyard.lab.nspawn.spec import SimulatedGpus
from steelyard.lab.simulated import gpu
from steelyard.modules.operations.gpu import setting_command
from steelyard_host.hardware import gpu as host_gpu
from steelyard_host.hardware.gpu import bus_of, xids
from steelyard_host.wire.codec import from_json, to_json
from steelyard_host.wire.hardware import BootSetting, GpuDevice, GpuHealth

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize(
    ("device", "name"),
    [
        (0x17C8, "Maxwell"),
        (0x15F8, "Pascal"),
        (0x1B38, "Pascal"),
        (0x1DB4, "Volta"),
        (0x1EB8, "Turing"),
        (0x20B5, "Ampere"),
        (0x2182, "Turing"),
        (0x2230, "Ampere"),
        (0x2330, "Hopper"),
        (0x2342, "Grace Hopper"),
        (0x2684, "Ada"),
        (0x26B9, "Ada"),
        (0x2901, "Blackwell or newer"),
        (0x2B85, "Blackwell or newer"),
        (0x3182, "Blackwell or newer"),
        (0x1180, "Kepler or older"),
    ],
)
def test_generation_comes_from_the_pci_id(device: int, name: str) -> None:
    assert generation(device).name == name


@pytest.mark.parametrize(
    ("devices", "branch", "wanted", "flavour", "why"),
    [
        ((0x2330, 0x2330), 580, None, Flavour.OPEN, "Hopper: the open module"),
        ((0x2330,), 550, None, Flavour.PROPRIETARY, "Hopper: the proprietary module"),
        ((0x1DB4,), 580, None, Flavour.PROPRIETARY, "Volta: the proprietary module"),
        ((0x1DB4,), 590, None, None, "Volta has no driver after branch 580; branch 590 is declared"),
        ((0x1DB4, 0x2330), 580, None, Flavour.PROPRIETARY, "Hopper, Volta: the proprietary module"),
        (
            (0x1DB4, 0x2901),
            580,
            None,
            None,
            "no one kernel module drives Blackwell or newer, Volta together; move one of them",
        ),
        ((0x2901,), 590, Flavour.PROPRIETARY, None, "Blackwell or newer cannot have the proprietary module"),
        ((0x2330,), 590, Flavour.PROPRIETARY, Flavour.PROPRIETARY, "Hopper: the proprietary module"),
        ((), 580, None, Flavour.OPEN, "no GPU: the open module"),
    ],
)
def test_flavour_fits_every_gpu_of_the_host(
    devices: tuple[int, ...], branch: int, wanted: Flavour | None, flavour: Flavour | None, why: str
) -> None:
    choice = choose(devices, branch, wanted)
    assert (choice.flavour, choice.why.startswith(why)) == (flavour, True), choice.why


def test_xids_have_one_action_each_and_the_ones_that_matter_halt() -> None:
    assert {number: ACTIONS[number] for number in (13, 43, 48, 63, 64, 74, 79, 95, 119, 154)} == {
        13: Action.RESTART_APP,
        43: Action.IGNORE,
        48: Action.MEMORY,
        63: Action.IGNORE,
        64: Action.RESET,
        74: Action.LINK,
        79: Action.REBOOT,
        95: Action.RESET,
        119: Action.RESET,
        154: Action.FOLLOW,
    }
    assert not ACTIONS[13].halts
    assert ACTIONS[79].halts


@pytest.mark.parametrize("text", ["00000000:18:00.0", "0000:18:00.0", "0000:18:00", "0000:18:00.0"])
def test_bus_addresses_of_nvml_sysfs_and_the_kernel_log_are_one(text: str) -> None:
    assert bus_of(text) == "0000:18:00.0"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nvml")
    command = [
        "cc",
        "-shared",
        "-fPIC",
        "-o",
        str(folder / "libnvidia-ml.so.1"),
        str(gpu.SOURCE),
        "-Wl,-soname,libnvidia-ml.so.1",
    ]
    subprocess.run(command, check=True)
    return folder


def helper(library: Path, scenario: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The helper itself over the simulated library."""
    return subprocess.run(
        [sys.executable, "-m", "steelyard_host", *words],
        cwd=ROOT / "src",
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "LD_LIBRARY_PATH": str(library), "STEELYARD_LAB_GPUS": str(scenario)},
    )


def health_of(library: Path, scenario: Path) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(helper(library, scenario, "gpu-health").stdout)
    return answer


def health(library: Path, tmp_path: Path, *faults: str) -> dict[str, Any]:
    """Its answer, with two GPUs and an NVSwitch said to be on the bus."""
    scenario = tmp_path / "gpus.conf"
    scenario.write_text(gpu.scenario_text(SimulatedGpus.model_validate({"count": 2, "faults": faults})))
    answer = health_of(library, scenario)
    bus = [
        {"bus": f"0000:1{8 + index}:00.0", "kind": "gpu", "width": 16, "max_width": 16, "asleep": False}
        for index in range(2)
    ]
    return {
        **answer,
        "loaded": {"version": "580.95.05", "flavour": "open"},
        "pci": [*bus, {"bus": "0000:40:00.0", "kind": "switch"}],
    }


def problems_of(answer: dict[str, Any], gpus: int | None = None) -> list[GpuProblem]:
    return gpu_problems(from_json(GpuHealth, answer), gpus)


@pytest.mark.parametrize(
    ("fault", "check", "subject"),
    [
        ("lost:1", "lost", "GPU 1"),
        ("remap:0", "remap", "GPU 0 row remapping"),
        ("rma:0", "remap", "GPU 0 row remapping"),
        ("ecc:1=3", "ecc", "GPU 1 uncorrected ECC errors"),
        ("link:0=2", "links", "GPU 0 NVLinks up"),
        ("fabric:1", "fabric", "GPU 1 NVLink fabric"),
        ("throttle:0=64", "throttle", "GPU 0 clocks"),
        ("recovery:0=1", "recovery", "GPU 0 recovery action"),
        ("init:18", "versions", "loaded module and library"),
        ("init:9", "driver", "NVIDIA driver"),
    ],
)
def test_each_simulated_fault_is_one_problem_with_a_fix(
    library: Path, tmp_path: Path, fault: str, check: str, subject: str
) -> None:
    found = problems_of(health(library, tmp_path, fault))
    assert [(problem.check, problem.subject) for problem in found] == [(check, subject)]
    assert found[0].fix


def test_healthy_gpus_have_no_problems_and_an_idle_throttle_is_none(library: Path, tmp_path: Path) -> None:
    assert problems_of(health(library, tmp_path, "throttle:0=1")) == []


def test_what_the_bus_and_the_kernel_log_say(library: Path, tmp_path: Path) -> None:
    answer = health(library, tmp_path)
    answer["pci"] = answer["pci"][:1]
    answer["xids"] = [
        {"bus": "0000:18:00.0", "xid": 79, "count": 2, "last": "2026-01-01T00:00:00"},
        {"bus": "0000:18:00.0", "xid": 13, "count": 1},
    ]
    found = problems_of(answer, gpus=2)
    assert [(problem.check, problem.live.split(",")[0], problem.halts) for problem in found] == [
        ("on-the-bus", "1", True),
        ("xid", "1 times since boot", False),
        ("xid", "2 times since boot", True),
    ]


def test_xids_are_counted_per_gpu_from_the_kernel_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = """\
2026-11-22T10:00:00+0000 gpu-1 kernel: NVRM: Xid (PCI:0000:18:00): 79, pid='<unknown>', GPU has fallen off the bus.
2026-11-22T10:00:05+0000 gpu-1 kernel: NVRM: Xid (PCI:0000:18:00): 79, pid=1234, name=python
2026-11-22T10:00:06+0000 gpu-1 kernel: NVRM: Xid (PCI:0000:19:00): 13, pid=77, Graphics SM Warp Exception
2026-11-22T10:00:07+0000 gpu-1 kernel: NVRM: something else"""
    (tmp_path / "journalctl").write_text(f"#!/bin/sh\ncat <<'EOF'\n{log}\nEOF\n")
    (tmp_path / "journalctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert to_json(xids()) == [
        {"bus": "0000:18:00.0", "xid": 79, "count": 2, "last": "2026-11-22T10:00:05+0000"},
        {"bus": "0000:19:00.0", "xid": 13, "count": 1, "last": "2026-11-22T10:00:06+0000"},
    ]


def test_an_old_driver_without_most_getters_still_answers(tmp_path: Path) -> None:
    """A library that has nine functions: everything else is unknown, and nothing fails."""
    source = tmp_path / "old.c"
    source.write_text(
        "#include <string.h>\nint nvmlInitWithFlags(unsigned f){return 0;}int nvmlShutdown(void){return "
        '0;}const char*nvmlErrorString(int c){return "?";}'
        'int nvmlSystemGetDriverVersion(char*t,unsigned s){strcpy(t,"470.1");return 0;}int '
        "nvmlDeviceGetCount_v2(unsigned*n){*n=1;return 0;}"
        "int nvmlDeviceGetHandleByIndex_v2(unsigned i,void**h){*h=(void*)1;return 0;}int "
        'nvmlDeviceGetName(void*h,char*t,unsigned s){strcpy(t,"simulated");return 0;}'
        'int nvmlDeviceGetUUID(void*h,char*t,unsigned s){strcpy(t,"GPU-1");return 0;}'
        "int nvmlDeviceGetMemoryInfo(void*h,unsigned long long*m){m[0]=8;m[1]=m[2]=4;return 0;}"
        'int nvmlDeviceGetPciInfo_v3(void*h,char*p){memset(p,0,68);strcpy(p+36,"00000000:18:00.0");return 0;}\n'
    )
    subprocess.run(["cc", "-shared", "-fPIC", "-w", "-o", str(tmp_path / "libnvidia-ml.so.1"), str(source)], check=True)
    done = subprocess.run(
        [sys.executable, "-m", "steelyard_host", "gpu-health"],
        cwd=ROOT / "src",
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "LD_LIBRARY_PATH": str(tmp_path)},
    )
    device = json.loads(done.stdout)["devices"][0]
    assert (device["name"], device["remap"], device["fabric"], device["recovery"], device["persistence"]) == (
        "simulated",
        None,
        None,
        None,
        None,
    )


def test_where_a_gpu_sleeps_none_is_attached_and_it_is_listed_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Told not to attach, NVML knows only GPUs in use: seen on an H200 that nobody used, with driver 580."""
    import pynvml

    started: list[int] = []
    monkeypatch.setattr(pynvml, "nvmlInitWithFlags", started.append)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetCount", lambda: 0)
    monkeypatch.setattr(pynvml, "nvmlSystemGetDriverVersion", lambda: "580.1")
    monkeypatch.setattr(pynvml, "nvmlShutdown", lambda: None)
    assert host_gpu.nvml(set())["devices"] == []
    assert host_gpu.nvml({"0000:18:00.0"})["devices"] == [
        {"index": 0, "bus": "0000:18:00.0", "error": None, "asleep": True}
    ]
    assert started == [0, pynvml.NVML_INIT_FLAG_NO_ATTACH]


def test_a_real_gpu_that_is_well_has_no_problem() -> None:
    """`gpu-health` as it was recorded on an H200 with driver 580, in a virtual machine; serial number and UUID are made
    up.
    """
    assert problems_of(json.loads((ROOT / "tests/data/h200-gpu-health.json").read_text()), gpus=1) == []


def cut(library: Path, scenario: Path, *words: str) -> str:
    """What `gpu-settings` could not do."""
    return helper(library, scenario, "gpu-settings", *words).stderr.strip()


def layouts(library: Path, scenario: Path) -> list[list[str] | None]:
    found = [device["mig_layout"] for device in health_of(library, scenario)["devices"]]
    assert all(
        part["uuid"].startswith("MIG-")
        for layout in found
        if layout
        for part in layout
        if "empty" not in part["profile"]
    )
    return [layout if layout is None else [part["profile"] for part in layout] for layout in found]


def test_a_gpu_is_cut_into_instances_and_the_layout_of_before_survives_one_that_does_not_fit(
    library: Path, tmp_path: Path
) -> None:
    scenario = tmp_path / "gpus.conf"
    scenario.write_text(gpu.scenario_text(SimulatedGpus.model_validate({"count": 2})))
    assert layouts(library, scenario) == [None, None]
    assert "MIG mode comes with" in cut(library, scenario, "mig_layout=3g.40gb")
    assert cut(library, scenario, "mig=1", "mig_layout.0=1g.10gb,3g.40gb,2g.20gb") == ""
    assert layouts(library, scenario) == [["3g.40gb", "2g.20gb", "1g.10gb"], []]
    kept = scenario.read_text()
    assert cut(library, scenario, "mig_layout.0=2g.20gb,3g.40gb,1g.10gb") == ""
    assert scenario.read_text() == kept, "another order of the same instances is no change"
    said = cut(library, scenario, "--gpu", "0", "mig_layout=4g.40gb,4g.40gb")
    assert "GPU 0: mig_layout=4g.40gb,4g.40gb: 4g.40gb, 4g.40gb do not fit together" in said
    assert layouts(library, scenario)[0] == ["3g.40gb", "2g.20gb", "1g.10gb"]
    assert "it has 7g.80gb, 4g.40gb, 3g.40gb" in cut(library, scenario, "--gpu", "0", "mig_layout=9g.1gb")
    scenario.write_text(scenario.read_text() + "set=0 ci- 1\n")
    assert layouts(library, scenario)[0] == ["3g.40gb", "2g.20gb (empty)", "1g.10gb"]
    assert cut(library, scenario, "--gpu", "0", "mig_layout=7g.80gb") == ""
    scenario.write_text(scenario.read_text() + "fault=busy:0\n")
    assert "in use by process 4242" in cut(library, scenario, "--gpu", "0", "mig_layout=3g.40gb")
    assert layouts(library, scenario)[0] == ["7g.80gb"]


def test_the_plan_of_a_layout(library: Path, tmp_path: Path) -> None:
    scenario = tmp_path / "gpus.conf"
    scenario.write_text(gpu.scenario_text(SimulatedGpus.model_validate({"count": 1})))
    device = from_json(GpuDevice, health_of(library, scenario)["devices"][0])
    wanted = {"mig": "1", "mig_layout": "3g.40gb,3g.40gb"}
    change = setting_command(wanted, device)
    assert change is not None and "mig=1 mig_layout=3g.40gb,3g.40gb" in str(change.get_raw_value())
    cut = device._replace(mig=BootSetting(current=True, pending=True))
    assert setting_command({"mig": "1", "mig_layout.1": "7g.80gb"}, cut) is None
    waits = device._replace(mig=BootSetting(current=False, pending=True))
    assert setting_command(wanted, waits) is None, "Ampere: the mode comes with the reboot, and the layout with it"
    with pytest.raises(ValueError, match="in use by process 7"):
        setting_command(wanted, device._replace(processes=(7,)))
