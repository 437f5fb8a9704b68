"""Inventories of well-known projects, read by us and by `ansible-inventory --list`: value for value the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from support.dear import dear


@dear(1, 2, "STEELYARD_ANSIBLE")
def test_public_inventories_are_read_as_ansible_reads_them() -> None:
    tool = Path(__file__).parent.parent.parent / "tools/compare_inventories.py"
    done = subprocess.run([sys.executable, str(tool)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert len([line for line in lines if line.startswith("same")]) >= 10
