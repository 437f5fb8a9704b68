"""What the CI templates install: wheels whose hashes the checkout names, made by `make ci-lock`, and nothing else; by
the real pip.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from support.ci_templates import GITHUB, ROOT, bash, github_job, github_steps, gitlab_script

INSTALLS = {"GitHub": github_steps()["Install"], "GitLab": gitlab_script("before_script")}


def write_wheel(folder: Path, says: str) -> Path:
    """A wheel of the name, with one module and no dependency."""
    made = folder / "steelyard-9.9-py3-none-any.whl"
    files = {
        "steelyard_says.py": f"print({says!r})\n",
        "steelyard-9.9.dist-info/METADATA": "Metadata-Version: 2.1\nName: steelyard\nVersion: 9.9\n",
        "steelyard-9.9.dist-info/WHEEL": (
            "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        ),
    }
    hashes = {name: base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()) for name, text in files.items()}
    record = "".join(f"{name},sha256={hashes[name].decode().rstrip('=')},{len(text)}\n" for name, text in files.items())
    with zipfile.ZipFile(made, "w") as archive:
        for name, text in {**files, "steelyard-9.9.dist-info/RECORD": record}.items():
            archive.writestr(zipfile.ZipInfo(name), text)
    return made


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The repository of an inventory after `make ci-lock`, made without a network."""
    site, given = tmp_path / "site", tmp_path / "given"
    site.mkdir()
    given.mkdir()
    words = [
        sys.executable,
        str(ROOT / "tools/ci_lock.py"),
        str(site),
        "--offline",
        "--wheel",
        str(write_wheel(given, "mine")),
    ]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return site


def environment() -> dict[str, str]:
    secrets = {"FLEET_SSH_KEY": "/nowhere/key", "FLEET_VAULT_PASSWORD": "/nowhere/password"}
    return {**os.environ, **secrets, "PIP_NO_INDEX": "1", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


@pytest.mark.parametrize("script", INSTALLS.values(), ids=INSTALLS)
def test_the_locked_wheel_is_installed_and_an_altered_one_is_not(script: str, checkout: Path) -> None:
    done = bash(script, checkout, environment())
    assert done.returncode == 0, done.stderr
    said = bash(".drift/bin/python -c 'import steelyard_says'", checkout, environment())
    assert said.stdout == "mine\n"
    write_wheel(checkout / "ci/wheels", "another's")
    refused = bash(script, checkout, environment())
    assert refused.returncode != 0
    assert "DO NOT MATCH THE HASHES" in refused.stdout + refused.stderr
    assert bash(".drift/bin/python -c 'import steelyard_says'", checkout, environment()).returncode != 0


def test_the_lock_names_the_files_of_the_checkout(checkout: Path) -> None:
    [wheel] = (checkout / "ci/wheels").iterdir()
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    lock = (checkout / "ci/steelyard.lock").read_text()
    assert re.search(rf"^steelyard==9\.9 \\\n +--hash=sha256:{digest}$", lock, flags=re.M)


def test_actions_are_pinned_by_commit_with_their_version_beside() -> None:
    used = re.findall(r"uses: (\S+)(.*)", GITHUB.read_text())
    assert len(used) >= 3
    for action, rest in used:
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action)
        assert re.fullmatch(r" # v\d+\.\d+\.\d+", rest)


def test_only_the_step_that_looks_has_the_secrets() -> None:
    holders = [step.get("name") for step in github_job()["steps"] if "secrets." in str(step)]
    assert holders == ["Look"]
    assert "env -u FLEET_SSH_KEY -u FLEET_VAULT_PASSWORD .drift/bin/pip install" in gitlab_script("before_script")
