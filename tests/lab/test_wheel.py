"""A wheel in an empty environment does what a checkout does: init, plan, apply; roles, templates and deploys are
inside.

It comes there as the CI templates bring it: built and locked by `make ci-lock`, installed by their step.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from support.ci_templates import bash, github_steps
from support.lab_site import BIN, ROOT, Site


def test_wheel_in_an_empty_environment_plans_the_site(site: Site, tmp_path: Path) -> None:
    made = subprocess.run(
        [sys.executable, str(ROOT / "tools/ci_lock.py"), str(tmp_path)], capture_output=True, text=True
    )
    assert made.returncode == 0, made.stderr
    done = bash(github_steps()["Install"], tmp_path, {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"})
    assert done.returncode == 0, done.stdout + done.stderr
    program = str(tmp_path / ".drift/bin/steelyard")
    environment = {**os.environ, "PYTHONPATH": ""}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([program, *words], capture_output=True, text=True, cwd=tmp_path, env=environment)

    assert run("init", "prod").returncode == 0
    assert (tmp_path / "prod/group_vars/all/models.yml").exists()
    assert not list((tmp_path / "prod").rglob("*.py"))
    assert run("__complete", "fish", "steelyard", "rollb").stdout.startswith("names\nrollback\t")
    planned = run("plan", "-i", str(site.inventory))
    assert planned.returncode == 0, planned.stdout + planned.stderr
    top = {path.name for path in (tmp_path / ".drift/lib").glob("python*/site-packages/*")}
    assert {"roles", "modules", "deploy", "inventories"} & top == set()
