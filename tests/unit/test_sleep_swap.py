"""Whether an engine may sleep beside another one, by its config and its host; what systemd does with it is tried on lab
hosts.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from steelyard_host.engine import service as engines
from steelyard_host.engine.service import HostService
from steelyard_host.hardware import gpu
from steelyard_host.rollout import sleep_swap, surge

H200 = 143771 * 2**20


def why_not() -> str | None:
    return sleep_swap.why_not(HostService.load("x"))


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host with the service `x` on one GPU; its config is written by each test."""
    monkeypatch.setattr(engines, "SERVICES", tmp_path)
    monkeypatch.setattr(gpu, "held", lambda: {"x": ["GPU-1"]})
    monkeypatch.setattr(sleep_swap, "_on_gpu", lambda service: True)
    devices = [
        {"uuid": "GPU-2", "compute_mode": "prohibited"},
        {"uuid": "GPU-1", "memory_bytes": H200, "compute_mode": "default"},
    ]
    monkeypatch.setattr(gpu, "nvml", lambda asleep: {"devices": devices})
    monkeypatch.setattr(surge, "_resident", lambda service: 8 * 2**30)
    monkeypatch.setattr(surge, "_available", lambda: 9 * 2**30)
    (tmp_path / "x.env").write_text("STEELYARD_ENGINE=/opt/steelyard/engines/vllm-0.32.0\n")
    return tmp_path


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ("enable-sleep-mode: true\n", None),
        ("model: /m\n", "its engine was started without `enable-sleep-mode: true` (serve.options)"),
        (
            "enable-sleep-mode: true\ngpu-memory-utilization: 0.99\n",
            "one that sleeps keeps 4 GiB of its GPU: gpu_memory_utilization would have to be 0.97 or less",
        ),
    ],
)
def test_on_a_gpu_it_needs_the_option_and_what_it_leaves_there(host: Path, config: str, why: str | None) -> None:
    (host / "x.yaml").write_text(config)
    assert why_not() == why


def test_a_gpu_for_one_process_takes_no_second(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (host / "x.yaml").write_text("enable-sleep-mode: true\n")
    device = {"uuid": "GPU-1", "memory_bytes": H200, "compute_mode": "exclusive-process"}
    monkeypatch.setattr(gpu, "nvml", lambda asleep: {"devices": [device]})
    assert why_not() == "its GPU takes one process only: its compute mode is exclusive-process"


def test_without_a_gpu_it_needs_memory_for_two(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (host / "x.yaml").write_text("model: /m\n")
    monkeypatch.setattr(sleep_swap, "_on_gpu", lambda service: False)
    assert why_not() is None
    monkeypatch.setattr(surge, "_available", lambda: 7 * 2**30)
    assert why_not() == "a second engine needs 8.0 GiB of memory, and 7.0 GiB are free"


def test_one_that_rests_by_itself_and_one_that_cannot_sleep_are_refused(host: Path) -> None:
    (host / "x.env").write_text("STEELYARD_ENGINE=/opt/steelyard/engines/vllm-0.32.0\nSTEELYARD_LOAD=lazy\n")
    assert why_not() == "it is started by its first request, and rests by itself"
    (host / "x.env").write_text("STEELYARD_ENGINE=/opt/steelyard/engines/llamacpp-1.0\n")
    assert why_not() == "its engine has no sleep mode"


def test_weights_that_were_quantized_while_they_were_loaded_are_kept(host: Path) -> None:
    (host / "x.yaml").write_text("model: /m\n")
    assert sleep_swap.level(HostService.load("x")) == 2
    (host / "x.yaml").write_text("model: /m\nquantization: fp8\n")
    assert sleep_swap.level(HostService.load("x")) == 1
