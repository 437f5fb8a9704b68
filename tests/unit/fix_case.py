"""How a fix is tried: a case yields what fails, is given the error, does what the fix says, and ends."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

from steelyard import errors
from steelyard.errors import SteelyardError

BIN = Path(sys.executable).parent
Attempt = Callable[[], Any]
Case = Callable[[Path], Generator[Attempt, SteelyardError, None]]
CASES: list[tuple[type[SteelyardError], Case]] = []


def mends(kind: type[SteelyardError]) -> Callable[[Case], Case]:
    def register(case: Case) -> Case:
        CASES.append((kind, case))
        return case

    return register


def printed(error: SteelyardError, start: str) -> list[str]:
    """The command in backticks of the fix, as a shell would read it."""
    command = next(found for found in re.findall(r"`([^`]+)`", error.remedy) if found.startswith(start))
    return shlex.split(command)


def run(words: list[str], cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(BIN / words[0]), *words[1:]], capture_output=True, text=True, stdin=subprocess.DEVNULL, cwd=cwd
    )


def raised(done: subprocess.CompletedProcess[str]) -> None:
    """What a command's JSON document says went wrong, as the exception it was."""
    said = next((json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"version"')), None)
    if said is not None and "error" in said:
        kind = getattr(errors, said["error"])
        raise kind(**{name: said[name] for name in kind.fields()})


def inventory(folder: Path, text: str = "all: {hosts: {g1: {}}}\n") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "hosts.yml").write_text(text)
    return folder
