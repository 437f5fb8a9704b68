"""What a command does not need it does not load. Told by the modules that its process has at its end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

RUN = """
import atexit, runpy, sys
listed = sys.argv.pop(1)
atexit.register(lambda: open(listed, "w").write("\\n".join(sys.modules)))
runpy.run_module("steelyard.cli.main", run_name="__main__", alter_sys=True)
"""


def loaded(tmp_path: Path, *words: str) -> set[str]:
    """The modules that a command imported."""
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache"), "XDG_STATE_HOME": str(tmp_path / "state")}
    command = [sys.executable, "-c", RUN, str(tmp_path / "listed"), *words]
    subprocess.run(command, capture_output=True, env=environment, cwd=tmp_path)
    return set((tmp_path / "listed").read_text().splitlines())


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
    assert {"ansible", "steelyard.roles.vllm.settings", "paramiko", "pyinfra"} <= first
    assert {"steelyard.roles.vllm.tasks", "steelyard.roles.dify.tasks"} & first == set()  # not in the deploy
    second = loaded(tmp_path, *words)
    assert {"paramiko", "pyinfra"} <= second
    unwanted = {
        "ansible",
        "steelyard.roles.vllm.settings",
        "steelyard.site.site",
        "pydantic",
        "asyncio",
        "unittest",
        "invoke.context",
        "rich",
        "yaml",
        "huggingface_hub",
        "pynvml",
        "jinja2",
        "packaging",
        "steelyard.lab",
        "steelyard.engine.lock",
        "steelyard.render.reports",
    }
    assert unwanted & second == set()


@pytest.mark.parametrize("command", [["lab", "status"], ["doctor"]])
def test_commands_without_hosts_load_no_ssh(tmp_path: Path, command: list[str]) -> None:
    assert {"paramiko", "pyinfra", "gevent", "ansible"} & loaded(tmp_path, *command) == set()
