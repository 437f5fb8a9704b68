"""A wheel in an empty environment does what a checkout does: init, plan, apply; roles, templates and deploys are inside."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from conftest import ROOT, Site


def test_wheel_in_an_empty_environment_plans_the_site(site: Site, tmp_path: Path) -> None:
    build = [sys.executable, "-m", "pip", "wheel", "-q", "-q", "--no-deps", "-w", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    [wheel] = tmp_path.glob("steelyard-*.whl")
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    install = [str(tmp_path / "venv/bin/pip"), "install", "-q", "-q", str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    program = str(tmp_path / "venv/bin/steelyard")
    environment = {**os.environ, "PYTHONPATH": ""}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([program, *words], capture_output=True, text=True, cwd=tmp_path, env=environment)

    assert run("init", "prod").returncode == 0
    assert (tmp_path / "prod/group_vars/all/models.yml").exists()
    assert not list((tmp_path / "prod").rglob("*.py"))
    planned = run("plan", "-i", str(site.inventory))
    assert planned.returncode == 0, planned.stdout + planned.stderr
    top = {path.name for path in (tmp_path / "venv/lib").glob("python*/site-packages/*")}
    assert {"roles", "modules", "deploy", "inventories"} & top == set()
