"""The shell of the CI templates, run as GitHub and GitLab run it, for the tests that do."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent.parent
GITHUB, GITLAB = ROOT / "docs/ci/github-actions.yml", ROOT / "docs/ci/gitlab-ci.yml"
BASH = ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c"]


def github_job() -> dict[str, Any]:
    job: dict[str, Any] = yaml.safe_load(GITHUB.read_text())["jobs"]["drift"]
    return job


def github_steps() -> dict[str, str]:
    """Shell by the name of its step."""
    return {step["name"]: step["run"] for step in github_job()["steps"] if "run" in step}


def gitlab_job() -> dict[str, Any]:
    job: dict[str, Any] = yaml.safe_load(GITLAB.read_text())["drift"]
    return job


def gitlab_script(part: str) -> str:
    """`before_script`, `script` or `after_script` as one text."""
    return "\n".join(gitlab_job()[part])


def bash(script: str, cwd: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*BASH, script], cwd=cwd, env=env, capture_output=True, text=True)
