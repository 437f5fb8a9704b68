"""ansible-core's releases beyond Python 3.11 read inventories as ours does: the tests that compare the two run again
in an environment of each, of a newer Python that this machine has.
"""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from support.dear import dear

ROOT = Path(__file__).parents[2]
UV = Path(sys.executable).parent / "uv"
COMPARING = ["test_ansible_connection", "test_inventory_conformance", "test_templates", "test_vault_secrecy"]
NEWEST_FIRST = ["3.14", "3.13", "3.12"]


@cache
def newer_python() -> Path | None:
    """A Python from 3.12 on, that starts: of the PATH, or of those that pyenv keeps."""
    places = [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    places += sorted((Path.home() / ".pyenv" / "versions").glob("3.*/bin"))
    for release in NEWEST_FIRST:
        for place in places:
            program = place / f"python{release}"
            if program.exists() and subprocess.run([program, "--version"], capture_output=True).returncode == 0:
                return program
    return None


@pytest.mark.skipif(newer_python() is None, reason="no Python from 3.12 on is installed on this machine")
@pytest.mark.parametrize(
    "release",
    [
        pytest.param("2.20", marks=dear(0, 4, "STEELYARD_ANSIBLE")),
        pytest.param("2.21", marks=dear(2, 4, "STEELYARD_ANSIBLE")),
    ],
)
def test_inventories_and_connections_hold_with(release: str, tmp_path: Path) -> None:
    python = tmp_path / "venv" / "bin" / "python"
    for command in (
        [UV, "venv", "--quiet", "--python", newer_python(), tmp_path / "venv"],
        [UV, "pip", "install", "--quiet", "--python", python, "--editable", ".[dev]", f"ansible-core=={release}.*"],
    ):
        subprocess.run(command, cwd=ROOT, check=True)
    tests = [f"tests/unit/{name}.py" for name in COMPARING]
    ran = subprocess.run(
        [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests], cwd=ROOT, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stdout[-6000:] + ran.stderr[-2000:]
