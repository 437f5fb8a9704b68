"""How open each unit is, by systemd's own measure: no more than SECURITY.md says of it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hardening_counts
import pytest
import yaml

ROOT = hardening_counts.ROOT
STATED = {
    name: float(most)
    for name, most in re.findall(r"^\| `([\w@.-]+\.service)` \| ([\d.]+) \|", hardening_counts.PAGE.read_text(), re.M)
}


def _texts(node: Any) -> Iterator[str]:
    """Every text within a golden plan."""
    if isinstance(node, str):
        yield node
    elif isinstance(node, dict | list):
        for inner in node.values() if isinstance(node, dict) else node:
            yield from _texts(inner)


def units() -> dict[str, str]:
    """Units of services that the golden plans write, by their names; drop-ins are parts of others."""
    found = {}
    for case in sorted((ROOT / "tests/roles").glob("*/*.yaml")):
        for text in _texts(yaml.safe_load(case.read_text())):
            if wrote := re.match(r"write (/etc/systemd/system/([\w@.-]+\.service))\n", text):
                found[wrote[2]] = text.partition("\n")[2]
    return found


def test_every_unit_of_ours_is_stated() -> None:
    assert set(STATED) == set(units())


@pytest.mark.parametrize("name", sorted(STATED))
def test_a_unit_is_not_more_open_than_stated(name: str, tmp_path: Path) -> None:
    # what tells a template's instances apart is not what opens them
    path = tmp_path / name.replace("@.service", ".service")
    path.write_text(units()[name].replace("%i", "x").replace("%f", "/x"))
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", str(path)], capture_output=True, text=True
    )
    measured = re.search(r"exposure level for \S+: ([\d.]+)", done.stdout)
    if measured is None:
        pytest.skip(f"systemd-analyze does not measure files here: {done.stderr.strip()[:80]}")
    assert float(measured[1]) <= STATED[name]
