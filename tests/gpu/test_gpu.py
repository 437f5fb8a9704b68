"""What only a real NVIDIA GPU can show: `make test-gpu`, as root on a machine with one and with a vLLM for it.

The engine runs without its unit here, so that nothing but a driver, a GPU and vLLM is asked for; what is tried are the
helper's own calls. Last lines: figures as JSON, seconds and GiB.
"""

from __future__ import annotations

import json
import os
import re
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from steelyard.models.content.manifest import ManifestTensor
from steelyard.models.fit import footprint
from steelyard.models.fit.gpu_memory import TIGHT, ServingProfile, memory_fit
from steelyard_host.engine import control_api, probe
from steelyard_host.engine.probe import SocketConnection, headers
from steelyard_host.engine.service import HostService
from steelyard_host.errors import HelperError
from steelyard_host.hardware import gpu

PROMPTS = ("hello", "once upon a time", "the weight of steel")
START_S = 240
FIRST = HostService("first", {})


def used_gib() -> float:
    return float(gpu.memory()["devices"][0]["used_bytes"]) / 2**30


class Engine:
    """vLLM on the first GPU, reachable as a service's engine is."""

    def __init__(self, name: str, model: Path, log: Path) -> None:
        socket = Path(HostService(name, {}).socket)
        socket.parent.mkdir(parents=True, exist_ok=True)
        self.name, self.log = name, log
        words = [
            sys.executable,
            "-m",
            "vllm.entrypoints.openai.api_server",
            "--model",
            str(model),
            "--uds",
            str(socket),
            "--served-model-name",
            name,
            "--enable-sleep-mode",
            "--gpu-memory-utilization",
            "0.8",
            "--max-model-len",
            "2048",
        ]
        environment = os.environ | {"VLLM_SERVER_DEV_MODE": "1", "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}
        self.began = time.monotonic()
        with log.open("w") as output:
            self.process = subprocess.Popen(
                words, env=environment, stdout=output, stderr=output, start_new_session=True
            )

    def started(self) -> float:
        end = time.monotonic() + START_S
        while time.monotonic() < end and self.process.poll() is None:
            if probe.one_token(HostService(self.name, {}).socket, self.name)[0]:
                return time.monotonic() - self.began
            time.sleep(0.1)
        raise AssertionError(self.log.read_text()[-6000:])

    def texts(self) -> list[str]:
        """Its greedy answers."""
        return [self._text(prompt) for prompt in PROMPTS]

    def _text(self, prompt: str) -> str:
        connection = SocketConnection(HostService(self.name, {}).socket, 60)
        body = {"model": self.name, "prompt": prompt, "max_tokens": 48, "temperature": 0, "ignore_eos": True}
        connection.request("POST", "/v1/completions", json.dumps(body), headers(self.name))
        return str(json.loads(connection.getresponse().read())["choices"][0]["text"])

    def kill(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def timed(work, *given) -> float:  # type: ignore[no-untyped-def]
    began = time.monotonic()
    work(*given)
    return round(time.monotonic() - began, 3)


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    import billions

    root = tmp_path_factory.mktemp("models")
    for number in (1, 2):
        billions.make(root / f"v{number}", number)
    path = root / "model"
    path.mkdir()
    subprocess.run(["mount", "--bind", root / "v1", path], check=True)
    yield root
    subprocess.run(["umount", "--recursive", path], check=False)


def test_nvml_answers_what_the_checks_read() -> None:
    """Every getter of the helper, on a real driver; None stands for what this GPU or machine does not have."""
    found = gpu.nvml(set())
    print(json.dumps(found))
    assert found["error"] is None and found["devices"]
    for device in found["devices"]:
        assert device["error"] is None
        assert {name for name, value in device.items() if value is None} <= {
            "error",
            "retired_pending",
            "fabric",
            "mig_layout",
            "recovery",
        }


def test_two_engines_take_turns_on_one_gpu(versions: Path, tmp_path: Path) -> None:
    """One sleeps, a second one starts with another version on the same GPU and goes; the first wakes with the same
    answers as before.
    """
    figures: dict[str, float] = {"weights_gib": round((versions / "v1/model.safetensors").stat().st_size / 2**30, 2)}
    first = Engine("first", versions / "model", tmp_path / "first.log")
    second = None
    try:
        figures["start_s"] = round(first.started(), 1)
        before, figures["awake_gib"] = first.texts(), round(used_gib(), 2)
        figures["sleep_s"] = timed(control_api.sleep, FIRST, 2)
        figures["asleep_gib"] = round(used_gib(), 2)
        second = Engine("second", versions / "v2", tmp_path / "second.log")
        figures["second_start_s"] = round(second.started(), 1)
        other = second.texts()
        assert other != before
        began = time.monotonic()
        second.kill()
        while used_gib() > figures["asleep_gib"] + 1 and time.monotonic() - began < 60:
            time.sleep(0.01)
        figures["second_gone_s"] = round(time.monotonic() - began, 3)
        figures["wake_s"] = timed(control_api.wake, FIRST, 2)
        assert first.texts() == before
        figures["sleep_kept_s"] = timed(control_api.sleep, FIRST, 1)
        figures["wake_kept_s"] = timed(control_api.wake, FIRST, 1)
        assert first.texts() == before
        reloaded_in_place(first, versions, other, figures)
        wakes_on_no_full_gpu()
        print(json.dumps(figures))
        fit_beside_what_it_says(first.log.read_text(), versions / "v1")
    finally:
        for engine in (first, second):
            if engine is not None:
                engine.kill()
                print(engine.log.read_text()[-3000:])


def fit_beside_what_it_says(log: str, model: Path) -> None:
    """The sum of `models fit` and the engine's own words; raises AssertionError where it errs by more than it says of
    itself.
    """
    with (model / "model.safetensors").open("rb") as file:
        head = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
    entries = {
        name: ManifestTensor(
            entry["dtype"],
            tuple(entry["shape"]),
            entry["data_offsets"][0],
            entry["data_offsets"][1] - entry["data_offsets"][0],
            "",
        )
        for name, entry in head.items()
        if name != "__metadata__"
    }
    config = json.loads((model / "config.json").read_text())
    memory = gpu.memory()["devices"][0]["memory_bytes"]
    expected = memory_fit(
        footprint.memory_footprint(config, {"model.safetensors": entries}),
        ServingProfile(utilization=0.8, context=2048),
        memory,
    )
    said = float(re.findall(r"Available KV cache memory: ([\d.]+) GiB", log)[-1])
    tokens = int(re.findall(r"GPU KV cache size: ([\d,]+) tokens", log)[-1].replace(",", ""))
    assert expected.token_bytes is not None
    found = {
        "context_gib": said,
        "context_expected_gib": round(expected.left_bytes / 2**30, 2),
        "token_bytes": round(said * 2**30 / tokens),
        "token_expected_bytes": expected.token_bytes,
    }
    print(json.dumps(found))
    assert abs(said * 2**30 - expected.left_bytes) < TIGHT * memory
    assert abs(found["token_bytes"] - expected.token_bytes) < 0.02 * expected.token_bytes


def reloaded_in_place(first: Engine, versions: Path, other: list[str], figures: dict[str, float]) -> None:
    """The other version's weights under the same path: answers are those of an engine that was started with it."""
    subprocess.run(["mount", "--bind", versions / "v2", versions / "model"], check=True)
    figures["reload_s"] = timed(control_api.reload_weights, FIRST)
    assert first.texts() == other


def wakes_on_no_full_gpu() -> None:
    """Why a wake-up waits for its GPU: the first that finds no room fails, and so does each after it."""
    import torch

    control_api.sleep(FIRST, 1)
    device = gpu.memory()["devices"][0]
    taken = torch.empty(int(0.9 * (device["memory_bytes"] - device["used_bytes"])), dtype=torch.uint8, device="cuda")
    with pytest.raises(HelperError):
        control_api.wake(FIRST, 1)
    del taken
    torch.cuda.empty_cache()
    with pytest.raises(HelperError):
        control_api.wake(FIRST, 1)
