"""The examples of docs/reference/examples.yml, for the tests that run them."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent.parent
FILE = ROOT / "docs/reference/examples.yml"
SITE, NOTHING = "site", "nothing"


@dataclass(frozen=True)
class Example:
    """`needs`: NOTHING, SITE, or the file of the test that runs the same command."""

    command: str
    run: str
    needs: str
    exit: int = 0


def examples(needs: str = "") -> list[Example]:
    """In the order of the file; all of them, or those with this need."""
    listed = [Example(command, **fields) for command, fields in yaml.safe_load(FILE.read_text()).items()]
    return [example for example in listed if needs in ("", example.needs)]


def run_example(example: Example, folder: Path) -> subprocess.CompletedProcess[str]:
    """As it stands, by bash, in `folder`, with the steelyard of this Python before any other."""
    environment = {key: value for key, value in os.environ.items() if key != "STEELYARD_INVENTORY"}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    words = ["bash", "-c", example.run]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL, env=environment)
