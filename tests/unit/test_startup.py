"""What a command does not need it does not load. Told by Python's own account of imports."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def loaded(tmp_path: Path, *words: str) -> set[str]:
    """Top-level modules, and ours in full, that a command imported."""
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache"), "XDG_STATE_HOME": str(tmp_path / "state")}
    command = [sys.executable, "-X", "importtime", "-m", "steelyard.cli.main", *words]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    names = {
        line.rsplit("|", 1)[1].strip() for line in done.stderr.splitlines() if line.startswith("import time:") and "|" in line
    }
    return names | {name.split(".")[0] for name in names}


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    """One host that refuses at once."""
    path = tmp_path / "site"
    path.mkdir()
    (path / "hosts.yml").write_text("all: {hosts: {h1: {ansible_host: 127.0.0.1, ansible_port: 1}}}\n")
    (path / "deploy.py").write_text("x = 1\n")
    return path


def test_a_second_look_loads_neither_ansible_nor_any_role(tmp_path: Path, inventory: Path) -> None:
    words = ("plan", "-i", str(inventory / "hosts.yml"), "--deploy", str(inventory / "deploy.py"))
    first = loaded(tmp_path, *words)
    assert {"ansible", "steelyard.roles.vllm.tasks", "paramiko", "pyinfra"} <= first
    second = loaded(tmp_path, *words)
    assert {"paramiko", "pyinfra"} <= second
    unwanted = {"ansible", "steelyard.roles.vllm.tasks", "steelyard.site", "asyncio", "unittest", "invoke.context", "rich", "yaml",
                "huggingface_hub", "pynvml", "jinja2", "packaging", "steelyard.lab", "steelyard.engine.lock", "steelyard.render.reports"}  # fmt: skip
    assert unwanted & second == set()


@pytest.mark.parametrize("command", [["lab", "status"], ["init", "made"]])
def test_commands_without_hosts_load_no_ssh(tmp_path: Path, command: list[str]) -> None:
    assert {"paramiko", "pyinfra", "gevent", "ansible"} & loaded(tmp_path, *command) == set()
